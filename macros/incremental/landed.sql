{#-
    The rows of a landed dataset that this model has not seen, read from the Parquet of the batches that
    landed.landings lists. Before the first batch it is an empty table with the contract's columns, and batches
    landed by an older contract read NULL in the columns that came later.
-#}
{% macro landed(source_relation) %}
    {{- return(parquet_of_batches(source_relation.identifier, 'data_path')) -}}
{% endmacro %}

{% macro parquet_of_batches(dataset, path_column) %}
    {% if not execute %}{% do return('(select 1)') %}{% endif %}
    {% set node = graph.sources.values() | selectattr('name', 'equalto', dataset) | selectattr('source_name', 'equalto', 'landed') | first %}
    {% set empty %}
        select {% for column in node.columns.values() %}cast(null as {{ column.data_type }}) as {{ column.name }}{{ ', ' if not loop.last }}{% endfor %} where false
    {%- endset %}
    {% set files = batch_files(dataset, path_column) %}
    {% if not files %}{% do return('(' ~ empty ~ ')') %}{% endif %}
    {% do return("(" ~ empty ~ " union all by name select * from read_parquet(['" ~ files | join("', '") ~ "'], union_by_name = true))") %}
{% endmacro %}

{% macro batch_files(dataset, path_column) %}
    {% if not adapter.get_relation(database=target.database, schema='landed', identifier='landings') %}{% do return([]) %}{% endif %}
    {% set seen = batches_to_see().seen if is_incremental() else 0 %}
    {% set rows = run_query("
        select " ~ path_column ~ " from landed.landings
        where batch_id > " ~ seen ~ " and " ~ path_column ~ " is not null"
        ~ (" and dataset = '" ~ dataset ~ "'" if path_column == 'data_path' else '')
        ~ " order by batch_id
    ") %}
    {% set lake = env_var('TIDEMARK_HOME', 'data') ~ '/lake/' %}
    {% set files = [] %}
    {% for row in rows %}{% do files.append(lake ~ row[0] | replace("'", "''")) %}{% endfor %}
    {% do return(files) %}
{% endmacro %}
