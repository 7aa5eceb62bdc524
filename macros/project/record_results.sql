{#-
    Keeps how the run and every node of it went, for the ops models and for whoever is on call. A run that was
    killed never comes here: it stays 'running' in ops.dbt_runs. A run counts as finished last of all, when it is
    known what it failed or skipped to build.
-#}
{% macro record_results(results) %}
    {% if not execute or flags.WHICH not in ('build', 'run', 'test', 'seed', 'retry') %}{% do return('') %}{% endif %}
    {% set failed = results | selectattr('status', 'in', ['error', 'fail', 'runtime error']) | list %}
    {{ record_failed_or_skipped(results) }}
    {% if results %}
    {% set messages = [] %}
    {% for result in results %}{% do messages.append(broken_rules(result) or result.message) %}{% endfor %}
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
        {{ "'" ~ (messages[loop.index0] | string | replace("'", "''")) ~ "'" if messages[loop.index0] else 'null' }},
        {{ "timestamp '" ~ timing.started_at.strftime('%Y-%m-%d %H:%M:%S.%f') ~ "'" if timing and timing.started_at else 'null' }},
        {{ "timestamp '" ~ timing.completed_at.strftime('%Y-%m-%d %H:%M:%S.%f') ~ "'" if timing and timing.completed_at else 'null' }},
        {{ result.execution_time }},
        {{ utc_now() }}
    ){{ ',' if not loop.last }}
    {% endfor %};
    {{ record_changed_days('ops_model_runs', [utc_today()]) }}
    {{ record_changed_days('ops_test_runs', [utc_today()]) }}
    {% set passed = results | selectattr('node.resource_type', 'equalto', 'test') | selectattr('status', 'in', ['pass', 'warn']) | list %}
    {# On all rows a test found what no look at changes would find again: until it passes, it looks at all of them. #}
    {% set fell = results | selectattr('node.resource_type', 'equalto', 'test') | selectattr('status', 'in', ['error', 'fail', 'runtime error']) | list %}
    {% if fell and env_var('TIDEMARK_TEST_ROWS', 'changed') == 'all' %}
    delete from ops.test_progress
    where test in ({% for result in fell %}'{{ result.node.unique_id }}'{{ ', ' if not loop.last }}{% endfor %});
    {% endif %}
    {% if passed %}
    delete from ops.test_progress
    where test in ({% for result in passed %}'{{ result.node.unique_id }}'{{ ', ' if not loop.last }}{% endfor %});
    {# A test saw no batch that what it reads had not. #}
    insert into ops.test_progress
    select
        passed.test,
        '{{ env_var('TIDEMARK_PROJECT', '') }}',
        (select coalesce(max(change), 0) from ops.changes),
        coalesce(
            (select min(built.batch_id) from ops.model_progress as built where list_contains(passed.reads, built.model)),
            (select max(landings.batch_id) from landed.landings),
            0
        )
    from (
        values
        {% for result in passed %}
        ('{{ result.node.unique_id }}', {{ names_listed(models_read_by(result.node)) }}){{ ', ' if not loop.last }}
        {% endfor %}
    ) as passed (test, reads);
    {% endif %}
    {% endif %}
    update ops.dbt_runs set
        finished_at = {{ utc_now() }},
        status = '{{ "failed" if failed else "passed" }}'
    where run_id = '{{ invocation_id }}';
{% endmacro %}

{#- Which rules the rows break that a test of valid rows found, and how many rows each; nothing of other results. -#}
{% macro broken_rules(result) %}
    {% set metadata = result.node.test_metadata if result.node.resource_type == 'test' else none %}
    {% if not metadata or metadata.name != 'valid_rows' or result.status not in ['fail', 'warn'] %}{% do return(none) %}{% endif %}
    {% set found = run_query("
        select broken_rules || ' (' || count(*) || ')'
        from (" ~ result.node.compiled_code ~ ") as found
        group by broken_rules
        order by count(*) desc, broken_rules
        limit 5
    ") %}
    {% do return('broken rules, with rows: ' ~ found.columns[0].values() | join('; ')) %}
{% endmacro %}

{#-
    Which models and seeds are not as this project builds them: after a whole build all but those it built; a build of
    some takes away what it built and adds what failed or was skipped. A backfill changes nothing here: what stops in
    one is in ops.backfill_chunks, and the model is as it was.
-#}
{% macro record_failed_or_skipped(results) %}
    {% if backfill_days() %}{% do return('') %}{% endif %}
    {% set built, not_built = [], [] %}
    {% for result in results if result.node.resource_type in ['model', 'seed'] %}
        {% do (built if result.status == 'success' else not_built).append(result.node.name) %}
    {% endfor %}
    {% if is_whole_build() %}
        {% for node in graph.nodes.values() if node.resource_type in ['model', 'seed'] and node.config.materialized != 'ephemeral' %}
            {% if node.name not in built and node.name not in not_built %}{% do not_built.append(node.name) %}{% endif %}
        {% endfor %}
    delete from ops.failed_or_skipped where not list_contains({{ names_listed(not_built) }}, node);
    {% else %}
    delete from ops.failed_or_skipped where list_contains({{ names_listed(built) }}, node);
    {% endif %}
    insert into ops.failed_or_skipped
    select
        failed.node,
        {{ utc_now() }}
    from (select unnest({{ names_listed(not_built) }}) as node) as failed
    where failed.node not in (select known.node from ops.failed_or_skipped as known);
{% endmacro %}

{#- The names of the models that a node names in ref(). -#}
{% macro models_read_by(node) %}
    {% set names = [] %}
    {% for id in node.depends_on.nodes if id in graph.nodes %}{% do names.append(graph.nodes[id].name) %}{% endfor %}
    {% do return(names) %}
{% endmacro %}

{% macro names_listed(names) -%}
    cast([{% for name in names %}'{{ name }}'{{ ', ' if not loop.last }}{% endfor %}] as string[])
{%- endmacro %}

{% macro utc_now() -%}
    timestamp '{{ modules.datetime.datetime.now(modules.pytz.utc).strftime("%Y-%m-%d %H:%M:%S.%f") }}'
{%- endmacro %}

{% macro utc_today() -%}
    {% do return(modules.datetime.datetime.now(modules.pytz.utc).date().isoformat()) %}
{%- endmacro %}
