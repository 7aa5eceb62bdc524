{#-
    Models of things rather than of days: what a new batch touches is a key, and every row of a touched key is
    made anew from all that was delivered of it.

    Which keys each batch touches is a model of its own, `int_<domain>__<things>_landed`: the keys it delivers,
    and the keys of the batch it supersedes, whose rows count no more. An incremental model names it twice: in
    `meta.keys_landed`, for the strategy, and in `in_keys_to_replace(key, ref(...))`, for the rows it reads.
-#}

{#- The keys that the batches this model has not seen touch. -#}
{% macro keys_touched(key, keys_landed) -%}
    select {{ key }} from {{ keys_landed }} where {{ in_new_batches() }}
{%- endmacro %}

{#- The condition that leaves in a model only the keys it replaces: true on a full build. -#}
{% macro in_keys_to_replace(key, keys_landed) %}
    {%- if not is_incremental() %}true{% else -%}
    {{ key }} in ({{ keys_touched(key, keys_landed) }})
    {%- endif %}
{%- endmacro %}

{#-
    Incremental strategy: the touched keys are deleted and inserted anew, whole, in one transaction with the
    model's progress. A touched key of which nothing is left is gone from the model too. A model without
    `meta.keys_landed` replaces the keys that its new rows hold.
-#}
{% macro get_incremental_replace_keys_sql(arg_dict) %}
    {% set target = arg_dict['target_relation'] %}
    {% set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') %}
    {% set key = config.require('unique_key') %}
    {% set keys_landed = config.get('meta', {}).get('keys_landed') %}
    {% set touched = keys_touched(key, ref(keys_landed)) if keys_landed else 'select ' ~ key ~ ' from ' ~ arg_dict['temp_relation'] %}
    delete from {{ target }} where {{ key }} in ({{ touched }});
    insert into {{ target }} ({{ columns }}) select {{ columns }} from {{ arg_dict['temp_relation'] }};
{% endmacro %}

{#- The condition that leaves only rows of batches this model has not seen: true on a full build. -#}
{% macro in_new_batches(column='_batch_id') %}
    {%- if not is_incremental() %}true{% else %}
    {%- set batches = batches_to_see() -%}
    {{ column }} > {{ batches.seen }} and {{ column }} <= {{ batches.upto }}
    {%- endif %}
{%- endmacro %}
