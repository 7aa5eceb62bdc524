{#-
    Contents and the sections they stand in. What is usual is that of 28 days, so a day that changes changes those after it.
-#}

{#-
    For meta.days_to_replace of agg_content_sections_daily: the affected days, and those on which a touched content stands
    in another section than was noted.
-#}
{% macro affected_days_of_sectioned() %}
    {% set noted %}
        select event_date, content_id, section from {{ this }}
        where {{ in_keys_to_replace('content_id', ref('int_content__contents_touched')) }}
    {% endset %}
    {% set rows = run_query("
        with noted as (" ~ noted ~ "), now as (" ~ sections_of_contents('noted') ~ ")
        select distinct strftime(noted.event_date, '%Y-%m-%d')
        from noted
        inner join now on noted.event_date = now.event_date and noted.content_id = now.content_id
        where noted.section <> now.section
    ") %}
    {% do return((affected_days() + rows.columns[0].values() | list) | unique | sort) %}
{% endmacro %}

{#- For meta.days_to_replace of agg_content_enjoyment: the days of which one of the 28 up to it changed. -#}
{% macro affected_days_of_enjoyment() %}
    {% if backfill_days() %}{% do return(affected_days()) %}{% endif %}
    {% do return(days_changed_by('agg_content_sections_daily', 27, 'agg_content_sections_daily')) %}
{% endmacro %}

{#-
    For meta.days_to_replace of agg_content_returns_weekly, which is kept by Mondays: those among the affected days, which
    reach three weeks back, and those of weeks in which a content changed its section.
-#}
{% macro affected_mondays() %}
    {% set mondays = [] %}
    {% for day in affected_days() if modules.datetime.date.fromisoformat(day).weekday() == 0 %}
        {% do mondays.append(day) %}
    {% endfor %}
    {% if backfill_days() %}{% do return(mondays) %}{% endif %}
    {% set rows = run_query("
        select distinct strftime(date_trunc('week', sections.day), '%Y-%m-%d')
        from ops.changes as sections
        inner join ops.model_progress as built on built.model = '" ~ model.name ~ "'
        left join ops.changes as own
            on own.model = '" ~ model.name ~ "' and own.day = cast(date_trunc('week', sections.day) as date)
        where sections.model = 'agg_content_sections_daily' and sections.change > coalesce(own.change, built.whole_change)
    ") %}
    {% do return((mondays + rows.columns[0].values() | list) | unique | sort) %}
{% endmacro %}
