"""Rows of tables and views of databases."""
