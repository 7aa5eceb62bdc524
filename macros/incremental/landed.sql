{#-
    The rows of a landed dataset that this model has not seen, read from the Parquet of the batches that the warehouse
    knows. Before the first batch it is an empty table with the contract's columns, and batches landed by an older
    contract read NULL in the columns that came later.
-#}
{% macro landed(source_relation) %}
    {% if not execute %}{% do return('(select 1)') %}{% endif %}
    {% set dataset = source_relation.identifier %}
    {% set node = graph.sources.values() | selectattr('name', 'equalto', dataset) | selectattr('source_name', 'equalto', 'landed') | first %}
    {% set columns = {} %}
    {% for column in node.columns.values() %}{% do columns.update({column.name: column.data_type}) %}{% endfor %}
    {% do return(parquet_of_batches("select batch_id, path from landed.landed_files where dataset = '" ~ dataset ~ "'", columns)) %}
{% endmacro %}

{#- The rows that landing refused in batches which this model has not seen, with these columns. -#}
{% macro quarantined(columns) %}
    {% do return(parquet_of_batches('select batch_id, rejects_path as path from landed.landings where rejects_path is not null', columns)) %}
{% endmacro %}

{#- Those columns, and no others, of the files that a query of batches and paths names for batches this model has not seen. -#}
{% macro parquet_of_batches(query, columns) %}
    {% if not execute %}{% do return('(select 1)') %}{% endif %}
    {% set empty %}
        select {% for name, type in columns.items() %}cast(null as {{ type }}) as {{ name }}{{ ', ' if not loop.last }}{% endfor %} where false
    {%- endset %}
    {% set files = batch_files(query) %}
    {% if not files %}{% do return('(' ~ empty ~ ')') %}{% endif %}
    {#- A column's absence from every file is no error: the empty table has it. Only what is selected is read. -#}
    {% do return("(select " ~ columns | join(', ') ~ " from (" ~ empty ~ " union all by name select * from read_parquet(['" ~ files | join("', '") ~ "'], union_by_name = true)))") %}
{% endmacro %}

{% macro batch_files(query) %}
    {% if not adapter.get_relation(database=target.database, schema='landed', identifier='landings') %}{% do return([]) %}{% endif %}
    {% set seen = batches_to_see().seen if is_incremental() else 0 %}
    {% set rows = run_query("select distinct path from (" ~ query ~ ") where path <> '' and batch_id > " ~ seen ~ " order by path") %}
    {#- The home is where profiles.yml says: the lake is beside the warehouse, but where files of another are read. -#}
    {% set lake = target.path.rsplit('/', 2)[0] ~ '/lake/' %}
    {% set files = [] %}
    {% for row in rows %}{% do files.append((row[0] if row[0].startswith('/') else lake ~ row[0]) | replace("'", "''")) %}{% endfor %}
    {% do return(files) %}
{% endmacro %}
