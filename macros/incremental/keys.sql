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

{#-
    The condition that leaves only rows of the newest batches, for tests of tables that hold all that ever
    landed: as many batches as together hold `rows` rows, and one at the least. What landed before was tested
    when it was new, and a test must not cost more each day.
-#}
{% macro in_newest_batches(column='_batch_id', rows=5000000) %}
    {%- if not execute or not adapter.get_relation(database=target.database, schema='landed', identifier='landings') %}
        {%- do return('true') %}
    {%- endif %}
    {%- set found = run_query("
        with counted as (
            select
                batch_id,
                sum(rows_landed + rows_rejected) over (order by batch_id desc) - rows_landed - rows_rejected as rows_after
            from landed.landings
        )
        select coalesce(min(batch_id), 0) from counted where rows_after < " ~ rows) -%}
    {{ column }} >= {{ found.columns[0].values()[0] }}
{%- endmacro %}

{#- A data test of raw or staging rows says `where: newest batches`. -#}
{% macro get_where_subquery(relation) -%}
    {%- set where = config.get('where', '') -%}
    {%- if where == 'newest batches' %}{% set where = in_newest_batches() %}{% endif -%}
    {%- do return('(select * from ' ~ relation ~ ' where ' ~ where ~ ') as tested' if where else relation) -%}
{%- endmacro %}
