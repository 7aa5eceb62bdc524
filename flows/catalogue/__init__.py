"""What the project says of its tables: dbt's own pages, which column comes from which, and what is promised of each."""
