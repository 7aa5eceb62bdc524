"""Status: how lake, warehouse, publication and jobs stand."""
