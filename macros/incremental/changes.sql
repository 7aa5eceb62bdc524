{#-
    Which parts of a model a build changed, in ops.changes: a row per model and day, with a number that only
    grows; one row with no day for a model that is not partitioned by day. Publishing copies what changed since the
    version before, and data tests look at what changed since they last passed: neither looks through history.
-#}

{#- The column of the day by which a model is kept: that of its strategy, or the one it names in meta.day. -#}
{% macro day_column(node) %}
    {% if node.config.get('incremental_strategy') == 'replace_days' %}{% do return(node.config.unique_key) %}{% endif %}
    {% do return(node.config.get('meta', {}).get('day')) %}
{% endmacro %}

{#- SQL that notes that these days of a model changed. -#}
{% macro record_changed_days(name, days) %}
    {% if days %}
    delete from ops.changes where model = '{{ name }}' and {{ in_days('day', days) }};
    insert into ops.changes
    select '{{ name }}', unnest([{% for day in days %}date '{{ day }}'{{ ', ' if not loop.last }}{% endfor %}]), nextval('ops.change_number');
    {% endif %}
{% endmacro %}

{#- Pre-hook: a model about to be built whole changes every day, and nothing it had seen counts; the post-hook notes it. -#}
{% macro clear_before_whole_build() %}
    {% if execute and model.config.materialized in ('incremental', 'table') and flags.WHICH in ('build', 'run', 'retry') and not is_incremental() %}
    delete from ops.changes where model = '{{ model.name }}';
    delete from ops.model_progress where model = '{{ model.name }}';
    {% endif %}
{% endmacro %}

{#- Part of the post-hook: an incremental strategy by days has noted its own. -#}
{% macro record_changes() %}
    {% if model.config.get('incremental_strategy') == 'replace_days' %}
    insert into ops.changes
    select '{{ model.name }}', day, nextval('ops.change_number')
    from (select distinct {{ day_column(model) }} as day from {{ this }})
    where not exists (select 1 from ops.changes where model = '{{ model.name }}');
    {% else %}
    delete from ops.changes where model = '{{ model.name }}';
    insert into ops.changes select '{{ model.name }}', null, nextval('ops.change_number');
    {% endif %}
{% endmacro %}

{#-
    The days of the running model on which, or so many days before which, a day or week of another changed since. Days that the
    other has no rows of are none.
-#}
{% macro days_changed_by(name, days_after, of) %}
    {% set rows = run_query("
        select distinct strftime(days.day, '%Y-%m-%d')
        from ops.changes as theirs
        inner join ops.changes as days
            on days.model = '" ~ of ~ "' and days.day between theirs.day and " ~ add_days('theirs.day', days_after) ~ "
        left join ops.changes as own on own.model = '" ~ model.name ~ "' and days.day = own.day
        where theirs.model = '" ~ name ~ "' and theirs.change > coalesce(own.change, 0)
    ") %}
    {% do return(rows.columns[0].values() | list) %}
{% endmacro %}
