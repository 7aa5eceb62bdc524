{#-
    Models of things rather than of days: what a new batch touches is a key, and every row of a touched key is
    rebuilt from all that was delivered of it.

    Which keys each batch touches is a model of its own, `int_<domain>__<things>_touched`: the keys it delivers,
    and the keys of the delivery it supersedes, whose rows count no more. An incremental model names it twice: in
    `meta.touched_keys`, for the strategy, and in `in_keys_to_replace(key, ref(...))`, for the rows it reads.

    Where that model is kept by day instead, as one of devices is, a batch touches all keys of the days it touches. It
    has to keep every key that was ever on a day, until rows are taken away: then models of things are built whole.
-#}

{#- The keys that the batches this model has not seen touch. -#}
{% macro select_touched_keys(key, touched_keys) -%}
    {%- set day = day_column(graph.nodes['model.' ~ project_name ~ '.' ~ touched_keys.identifier]) -%}
    {%- if day -%}{% do refuse_in_unit_test("affected_days: ['2026-01-15']") %}{%- endif -%}
    select {{ key }} from {{ touched_keys }} where {{ in_days(day, affected_days()) if day else in_new_batches() }}
{%- endmacro %}

{#- The condition that leaves in a model only the keys it replaces: true on a full build. -#}
{% macro in_keys_to_replace(key, touched_keys) %}
    {%- if not is_incremental() %}true{% else -%}
    {{ key }} in ({{ select_touched_keys(key, touched_keys) }})
    {%- endif %}
{%- endmacro %}

{#-
    Incremental strategy: the touched keys are deleted and inserted again, whole, in one transaction with the
    model's progress. A touched key of which nothing is left is gone from the model too. A model without
    `meta.touched_keys` replaces the keys that its new rows hold.
-#}
{% macro get_incremental_replace_keys_sql(arg_dict) %}
    {% set target = arg_dict['target_relation'] %}
    {% set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') %}
    {% set key = config.require('unique_key') %}
    {% set touched_keys = config.get('meta', {}).get('touched_keys') %}
    {% set touched = select_touched_keys(key, ref(touched_keys)) if touched_keys else 'select ' ~ key ~ ' from ' ~ arg_dict['temp_relation'] %}
    delete from {{ target }} where {{ key }} in ({{ touched }});
    insert into {{ target }} ({{ columns }}) select {{ columns }} from {{ arg_dict['temp_relation'] }};
{% endmacro %}

{#-
    The condition that leaves only rows of batches this model has not seen. On a full build, those that it will have seen:
    where something upstream is behind, rows of later batches may be there already, and would be appended once more.
-#}
{% macro in_new_batches(column='_batch_id') %}
    {%- if not is_incremental() %}{{ column ~ ' <= ' ~ step().upto if 'upto' in step() else 'true' }}{% else %}
    {%- set batches = batches_to_see() -%}
    {{ column }} > {{ batches.seen }} and {{ column }} <= {{ batches.upto }}
    {%- endif %}
{%- endmacro %}
