{#-
    Weeks and the devices first seen in them. A device's first week follows from all its weeks, so a day may change what rows
    of weeks say that it has no part in. These are updated in place, as stitched sessions are, and their weeks noted; what
    is counted of them counts those weeks again.
-#}

{#- For meta.days_to_replace: the last days of the ISO weeks that hold the affected days. -#}
{% macro affected_week_ends() %}
    {% set ends = [] %}
    {% for day in affected_days() %}
        {% do ends.append(week_end(modules.datetime.date.fromisoformat(day)).isoformat()) %}
    {% endfor %}
    {% do return(ends | unique | sort) %}
{% endmacro %}

{#- The condition that leaves in a model of weeks the days of those it replaces: true on a full build. -#}
{% macro in_weeks_to_replace(column='event_date') %}
    {%- if not is_incremental() %}true{% else %}
    {{- in_days(column, widen_days(days_to_replace(), 6, 0)) }}
    {%- endif %}
{%- endmacro %}

{#-
    Post-hook of int_journeys__device_weeks_seen, in its transaction: the first week of a device over all its weeks is written
    over its rows that say another. Only devices of the replaced weeks are looked at, and those that the new batches
    touch, which may be on these weeks no more; where rows were taken away no batch holds their devices, so all are.
-#}
{% macro write_first_weeks_back(touched_keys) %}
    {% if not execute or flags.WHICH not in ('build', 'run', 'retry') or not is_incremental() %}{% do return('') %}{% endif %}
    {% set touched %}
        select device_key from {{ this }} where {{ in_days('week_end_date', days_to_replace()) }}
        union all
        {{ select_touched_keys('device_key', touched_keys) }}
    {% endset %}
    {% set changed %}
        with firsts as (
            select product, device_key, min(week_end_date) as first_week_end_date
            from {{ this }}
            {% if not step().takes_away %}where device_key in ({{ touched }}){% endif %}
            group by product, device_key
        )

        select weeks.week_end_date, weeks.product, weeks.device_key, firsts.first_week_end_date
        from {{ this }} as weeks
        inner join firsts on weeks.product = firsts.product and weeks.device_key = firsts.device_key
        where weeks.first_week_end_date <> firsts.first_week_end_date
    {% endset %}
    {% set rows = run_query("select distinct strftime(week_end_date, '%Y-%m-%d') from (" ~ changed ~ ") order by all") %}
    {% set weeks = rows.columns[0].values() | list %}
    {% if weeks %}
    update {{ this }} as weeks
    set first_week_end_date = changed.first_week_end_date
    from ({{ changed }}) as changed
    where
        weeks.week_end_date = changed.week_end_date
        and weeks.product = changed.product
        and weeks.device_key = changed.device_key
        and {{ in_days('weeks.week_end_date', weeks) }};
    {{ record_changed_days(model.name, weeks) }}
    {% endif %}
{% endmacro %}

{#-
    For meta.days_to_replace of int_journeys__cohorts_counted: the weeks that hold the affected days, and all whose rows were
    changed since they were counted, whatever the reason. Both models note the weeks they write, by numbers that only grow.
-#}
{% macro affected_cohort_weeks() %}
    {% set rows = run_query("
        select strftime(seen.day, '%Y-%m-%d')
        from ops.changes as seen
        left join ops.changes as counted on counted.model = '" ~ model.name ~ "' and seen.day = counted.day
        where
            seen.model = '" ~ ref('int_journeys__device_weeks_seen').identifier ~ "'
            and seen.change > coalesce(counted.change, 0)
    ") %}
    {% do return((affected_week_ends() + rows.columns[0].values() | list) | unique | sort) %}
{% endmacro %}
