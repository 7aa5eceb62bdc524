{#-
    What dbt compares before an incremental model is written: the columns of its new rows and of the table they go into. Its
    own macro asks for each of the two by a macro of its own, which makes dbt collect all macros twice; this asks once.
-#}
{% macro duckdb__check_for_schema_changes(source_relation, target_relation) %}
    {% set rows = run_query("
        select true, column_name, column_type from (describe " ~ source_relation ~ ")
        union all
        select false, column_name, column_type from (describe " ~ target_relation ~ ")
    ") %}
    {% set new, kept = [], [] %}
    {% for row in rows %}{% do (new if row[0] else kept).append(api.Column.create(row[1], row[2])) %}{% endfor %}
    {% set added, gone, retyped = diff_columns(new, kept), diff_columns(kept, new), diff_column_data_types(new, kept) %}
    {% do return({
        'schema_changed': (added or gone or retyped) and true,
        'source_not_in_target': added,
        'target_not_in_source': gone,
        'new_target_types': retyped,
        'source_columns': new,
        'target_columns': kept,
    }) %}
{% endmacro %}
