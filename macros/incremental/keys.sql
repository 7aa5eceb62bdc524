{#-
    Incremental strategy for tables of things rather than of days: every row of a key that the new rows hold is
    replaced by the new rows of that key.
-#}
{% macro get_incremental_replace_keys_sql(arg_dict) %}
    {% set target = arg_dict['target_relation'] %}
    {% set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') %}
    {% set key = config.require('unique_key') %}
    delete from {{ target }} where {{ key }} in (select {{ key }} from {{ arg_dict['temp_relation'] }});
    insert into {{ target }} ({{ columns }}) select {{ columns }} from {{ arg_dict['temp_relation'] }};
{% endmacro %}

{#- The condition that leaves only rows of batches this model has not seen: true on a full build. -#}
{% macro in_new_batches(column='_batch_id') %}
    {%- if not is_incremental() %}true{% else %}
    {%- set batches = batches_to_see() -%}
    {{ column }} > {{ batches.seen }} and {{ column }} <= {{ batches.upto }}
    {%- endif %}
{%- endmacro %}
