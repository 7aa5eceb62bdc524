{#-
    A data test looks at what changed since it last passed: what passed before cannot have come to fail without
    changing. ops.test_progress keeps, for each test, the last change and the last batch there were when it passed.
    With TIDEMARK_TEST_ROWS=all (`tidemark test`, for the nightly run) every test looks at everything, and so it does
    without Tidemark: dbt does not know whether the test was edited since.
-#}

{#- Whether the running test looks at everything, whatever it passed before. -#}
{% macro tests_all_rows() %}
    {% do return(
        not execute
        or env_var('TIDEMARK_TEST_ROWS', 'changed') == 'all'
        or not env_var('TIDEMARK_PROJECT', '')
        or not adapter.get_relation(database=target.database, schema='ops', identifier='test_progress')
    ) %}
{% endmacro %}

{#- The running test, as the project is now: an edited one passed nothing yet. -#}
{% macro is_this_test() %}
    {% do return("test = '" ~ model.unique_id ~ "' and project = '" ~ env_var('TIDEMARK_PROJECT', '') ~ "'") %}
{% endmacro %}

{#- The condition that leaves only the days of a model that changed since the running test passed, and those around. -#}
{% macro in_days_changed(column, name, around=0) %}
    {% if tests_all_rows() %}{% do return('true') %}{% endif %}
    {% set rows = run_query("
        select
            passed.change,
            strftime(changes.day, '%Y-%m-%d')
        from (select max(change) as change from ops.test_progress where " ~ is_this_test() ~ ") as passed
        left join ops.changes as changes
            on changes.change > passed.change and changes.model = '" ~ name ~ "' and changes.day is not null
        order by all
    ") %}
    {% if rows[0][0] is none %}{% do return('true') %}{% endif %}
    {% set days = rows.columns[1].values() | reject('none') | list %}
    {% do return(in_days(column, widen_days(days, around, around))) %}
{% endmacro %}

{#-
    The condition that leaves only rows of batches that came since the running test passed, of what is built from these
    appended models. Where one of them was built whole since, everything is looked at.
-#}
{% macro in_batches_changed(names, column='_batch_id') %}
    {% if tests_all_rows() %}{% do return('true') %}{% endif %}
    {% set rows = run_query("
        select passed.batch_id
        from ops.test_progress as passed
        where
            " ~ is_this_test() ~ "
            and not exists (
                select 1 from ops.model_progress as built
                where built.whole_change > passed.change and built.model in ('" ~ names | join("', '") ~ "')
            )
    ") %}
    {% do return(column ~ ' > ' ~ rows[0][0] if rows else 'true') %}
{% endmacro %}
