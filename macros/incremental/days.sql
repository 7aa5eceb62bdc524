{#- The first and last day that `tidemark build --from --to` rebuilds; none in a usual run. -#}
{% macro backfill_days() %}
    {% set days = env_var('TIDEMARK_DAYS', '') %}
    {% do return(days.split(':') if days else none) %}
{% endmacro %}

{#-
    The days of which new batches of the datasets that the model reads hold rows, or the days chosen, as a list of
    'YYYY-MM-DD'; the days that these reach belong too. The receipts of the batches say it: nothing is looked through.
-#}
{% macro affected_days() %}
    {% do return(step().days) %}
{% endmacro %}

{#-
    The affected days of things that change, for meta.days_to_replace: all days that a touched thing was ever on. One
    that moves to another day, or is gone, changes the day it was on before. meta.touched_keys names the model of the
    keys that each batch touches, which keeps the day of every row delivered of them.
-#}
{% macro affected_days_of_keys() %}
    {% if backfill_days() %}{% do return(affected_days()) %}{% endif %}
    {% set name = config.get('meta').touched_keys %}
    {% set touched = ref(name) %}
    {% set key = graph.nodes['model.' ~ project_name ~ '.' ~ name].columns | reject('in', ['_batch_id', 'event_date']) | first %}
    {% set rows = run_query("
        select distinct strftime(event_date, '%Y-%m-%d')
        from " ~ touched ~ "
        where " ~ in_keys_to_replace(key, touched) ~ "
        order by 1
    ") %}
    {% do return(rows.columns[0].values() | list) %}
{% endmacro %}

{#-
    The days an incremental run of this model replaces. A model for which the touched days are not the whole
    answer names its own macro in meta.days_to_replace. Asked once for each node.
-#}
{% macro days_to_replace() %}
    {% do refuse_in_unit_test("days_to_replace: ['2026-01-15']") %}
    {% if '_days' not in model %}
        {% set name = config.get('meta', {}).get('days_to_replace', 'affected_days') %}
        {% do model.update({'_days': context[name]()}) %}
    {% endif %}
    {% do return(model['_days']) %}
{% endmacro %}

{#-
    The condition that leaves in a model only the days it replaces: true on a full build, so that a model reads
    the same in both. `before` and `after` let in the days around that the model also reads.
-#}
{% macro in_days_to_replace(column='event_date', before=0, after=0) %}
    {%- if not is_incremental() %}true{% else %}
    {%- set days = days_to_replace() %}
    {%- if before or after %}{% set days = widen_days(days, before, after) %}{% endif %}
    {{- in_days(column, days) }}
    {%- endif %}
{%- endmacro %}

{#- A condition with the days written out, so that the engine can skip what lies outside them. -#}
{% macro in_days(column, days) %}
    {%- if not days %}false{% else -%}
    {{ column }} in ({% for day in days %}date '{{ day }}'{{ ', ' if not loop.last }}{% endfor %})
    {%- endif %}
{%- endmacro %}

{% macro widen_days(days, before, after) %}
    {% set wide = [] %}
    {% for day in days %}
        {% set date = modules.datetime.date.fromisoformat(day) %}
        {% for offset in range(-before, after + 1) %}
            {% set near = (date + modules.datetime.timedelta(days=offset)).isoformat() %}
            {% if near not in wide %}{% do wide.append(near) %}{% endif %}
        {% endfor %}
    {% endfor %}
    {% do return(wide | sort) %}
{% endmacro %}

{#-
    Incremental strategy: the days an incremental run is for are deleted and inserted again, whole, in one
    transaction with the model's progress.
-#}
{% macro get_incremental_replace_days_sql(arg_dict) %}
    {% set target = arg_dict['target_relation'] %}
    {% set columns = arg_dict['dest_columns'] | map(attribute='quoted') | join(', ') %}
    {% set days = days_to_replace() %}
    delete from {{ target }} where {{ in_days(config.require('unique_key'), days) }};
    insert into {{ target }} ({{ columns }}) select {{ columns }} from {{ arg_dict['temp_relation'] }};
    {{ record_changed_days(model.name, days) }}
{% endmacro %}
