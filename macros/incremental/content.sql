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
