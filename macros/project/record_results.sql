{#-
    Keeps how the run and every node of it went, for the ops models and for whoever is on call. A run that was
    killed never comes here: it stays 'running' in ops.dbt_runs, and what it left is not published.
-#}
{% macro record_results(results) %}
    {% if not execute or flags.WHICH not in ('build', 'run', 'test', 'seed', 'retry') %}{% do return('') %}{% endif %}
    {% set failed = results | selectattr('status', 'in', ['error', 'fail', 'runtime error']) | list %}
    {% set unmade = results | selectattr('node.resource_type', 'in', ['model', 'seed']) | rejectattr('status', 'equalto', 'success') | list %}
    update ops.dbt_runs set
        finished_at = {{ utc_now() }},
        status = '{{ "failed" if failed else "passed" }}',
        is_made = {{ not unmade }}
    where run_id = '{{ invocation_id }}';
    {% if results %}
    insert into ops.dbt_results values
    {% for result in results %}
    {% set timing = result.timing | selectattr('name', 'equalto', 'execute') | list | first %}
    (
        '{{ invocation_id }}',
        '{{ result.node.unique_id }}',
        '{{ result.node.resource_type }}',
        '{{ result.node.name }}',
        '{{ result.status }}',
        {{ result.failures if result.failures is not none else 'null' }},
        {{ "'" ~ (result.message | string | replace("'", "''")) ~ "'" if result.message else 'null' }},
        {{ "timestamp '" ~ timing.started_at.strftime('%Y-%m-%d %H:%M:%S.%f') ~ "'" if timing and timing.started_at else 'null' }},
        {{ "timestamp '" ~ timing.completed_at.strftime('%Y-%m-%d %H:%M:%S.%f') ~ "'" if timing and timing.completed_at else 'null' }},
        {{ result.execution_time }},
        {{ utc_now() }}
    ){{ ',' if not loop.last }}
    {% endfor %};
    {{ note_days_changed('ops_model_runs', [utc_today()]) }}
    {{ note_days_changed('ops_test_runs', [utc_today()]) }}
    {% set passed = results | selectattr('node.resource_type', 'equalto', 'test') | selectattr('status', 'in', ['pass', 'warn']) | list %}
    {% if passed %}
    delete from ops.test_progress
    where test in ({% for result in passed %}'{{ result.node.unique_id }}'{{ ', ' if not loop.last }}{% endfor %});
    insert into ops.test_progress
    select
        unnest([{% for result in passed %}'{{ result.node.unique_id }}'{{ ', ' if not loop.last }}{% endfor %}]),
        '{{ env_var('TIDEMARK_PROJECT', '') }}',
        (select coalesce(max(change), 0) from ops.changes),
        (select coalesce(max(batch_id), 0) from landed.landings);
    {% endif %}
    {% endif %}
{% endmacro %}

{% macro utc_now() -%}
    timestamp '{{ modules.datetime.datetime.now(modules.pytz.utc).strftime("%Y-%m-%d %H:%M:%S.%f") }}'
{%- endmacro %}

{% macro utc_today() -%}
    {% do return(modules.datetime.datetime.now(modules.pytz.utc).date().isoformat()) %}
{%- endmacro %}
