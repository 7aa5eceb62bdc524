{#- Keeps how every node of the run went, for the ops models and for whoever is on call. -#}
{% macro record_results(results) %}
    {% if not execute or not results or flags.WHICH not in ('build', 'run', 'test', 'seed', 'retry') %}{% do return('') %}{% endif %}
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
        timestamp '{{ modules.datetime.datetime.utcnow().strftime("%Y-%m-%d %H:%M:%S.%f") }}'
    ){{ ',' if not loop.last }}
    {% endfor %}
{% endmacro %}
