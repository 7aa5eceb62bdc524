{#-
    on-run-start: the mark that a run began. The tables it is kept in are made before dbt begins (flows/build/warehouse.py,
    flows/build/dbt_plugin.py). What `--empty` builds is of no project: the next build does everything again.
-#}
{% macro prepare_warehouse() %}
    {% if not execute or flags.WHICH not in ('build', 'run', 'test', 'seed', 'retry') %}{% do return('') %}{% endif %}
    {% do refuse_other_timezone() %}
    insert into ops.dbt_runs values (
        '{{ invocation_id }}', '{{ flags.WHICH }}', {{ is_whole_build() }}, '{{ '' if flags.EMPTY else env_var('TIDEMARK_PROJECT', '') }}',
        {{ utc_now() }}, null, 'running'
    );
{% endmacro %}

{#- Whether the run is to make every model. -#}
{% macro is_whole_build() %}
    {% do return(flags.WHICH == 'build' and not (invocation_args_dict.get('select') or invocation_args_dict.get('exclude'))) %}
{% endmacro %}

{#- The lake is laid out by the days of one time zone: by those of another, a build would find other days in it. -#}
{% macro refuse_other_timezone() %}
    {% set rows = run_query("select timezone from landed.layout") %}
    {% if rows and rows[0][0] != var('timezone') %}
        {% do exceptions.raise_compiler_error(
            "the lake is laid out by the days of " ~ rows[0][0] ~ ", and the variable timezone is " ~ var('timezone')
            ~ ": leave it out of --vars, or write it in dbt_project.yml and run `tidemark repartition`"
        ) %}
    {% endif %}
{% endmacro %}
