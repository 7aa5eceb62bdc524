{#-
    The start days that an incremental run of fct_sessions replaces, as a list of 'YYYY-MM-DD'. Sessions are not cut
    at midnight, so a touched day can change a session that started earlier. A touched day changes its own
    fragments, and whether the next day's first ones continue; the start days of all sessions made of those are

    - the touched days and the days after (as the fragments that continue read one day back);
    - those of the sessions built before that reach into such a day: it may lengthen, shorten or split them;
    - those of the sessions built before that ended the day before it, on devices that now go on across midnight.

    No others: take a session that now reaches into a touched day, and the first touched day after its start. Up
    to the day before that one nothing of it changed, so a session of that start was built before, and it ended
    that day or went on.
-#}
{% macro affected_session_days() %}
    {% set touched = affected_days() %}
    {% if not touched %}{% do return([]) %}{% endif %}
    {% set day_before = widen_days(touched, 1, 0) %}
    {% set reaching_in = [] %}
    {% for day in touched %}
        {% do reaching_in.append("(started_date < date '" ~ day ~ "' and ended_date >= date '" ~ day ~ "')") %}
    {% endfor %}
    {% set rows = run_query("
        with continuing as (
            select distinct event_date, product, device_key
            from " ~ ref('int_audience__session_fragments_continued') ~ "
            where " ~ in_days('event_date', touched) ~ "
        ),
        ended_just_before as (
            select distinct sessions.started_date
            from " ~ this ~ " as sessions
            inner join continuing
                on
                    sessions.product = continuing.product
                    and sessions.device_key = continuing.device_key
                    and sessions.ended_date = " ~ add_days('continuing.event_date', -1) ~ "
            where " ~ in_days('sessions.ended_date', day_before) ~ "
        ),
        reaching_in as (
            select distinct started_date from " ~ this ~ "
            where started_date < ended_date and (" ~ reaching_in | join(' or ') ~ ")
        )
        select started_date from ended_just_before
        union
        select started_date from reaching_in
    ") %}
    {% set days = touched | list %}
    {% for row in rows %}
        {% if row[0].isoformat() not in days %}{% do days.append(row[0].isoformat()) %}{% endif %}
    {% endfor %}
    {% do return(days | sort) %}
{% endmacro %}

{#- The condition that leaves in a model the first of the days it replaces and all after it: true on a full build. -#}
{% macro from_first_day_to_replace(column='event_date') %}
    {%- if not is_incremental() %}true{% else %}
    {%- set days = days_to_replace() %}
    {{- column ~ " >= date '" ~ days[0] ~ "'" if days else 'false' }}
    {%- endif %}
{%- endmacro %}
