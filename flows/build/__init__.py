"""Building: what landed goes through the models of dbt, and is tested."""
