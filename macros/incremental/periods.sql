{#-
    Calendar periods, partitioned by the day they end on. A touched day changes the day, the ISO week and the month that hold
    it and no other: so a model of periods replaces just the ends of these, and reads the days of just these.
-#}

{#- For meta.days_to_replace: the touched days, and the last days of the weeks and months that hold them. -#}
{% macro affected_period_ends() %}
    {% set ends = [] %}
    {% for day in affected_days() %}
        {% set date = modules.datetime.date.fromisoformat(day) %}
        {% for end in [date, week_end(date), month_end(date)] %}
            {% if end.isoformat() not in ends %}{% do ends.append(end.isoformat()) %}{% endif %}
        {% endfor %}
    {% endfor %}
    {% do return(ends | sort) %}
{% endmacro %}

{#- The condition that leaves in a model the days of the periods it replaces: true on a full build. -#}
{% macro in_periods_to_replace(column='event_date') %}
    {%- if not is_incremental() %}true{% else %}
    {%- set days = [] %}
    {%- for day in days_to_replace() %}
        {%- set date = modules.datetime.date.fromisoformat(day) %}
        {#- A period that ends on a replaced day is read whole, whatever put that day among them. -#}
        {%- set before = [6 if date == week_end(date) else 0, date.day - 1 if date == month_end(date) else 0] | max %}
        {%- do days.extend(widen_days([day], before, 0)) %}
    {%- endfor %}
    {{- in_days(column, days | unique | sort) }}
    {%- endif %}
{%- endmacro %}

{% macro week_end(date) %}
    {% do return(date + modules.datetime.timedelta(days=6 - date.weekday())) %}
{% endmacro %}

{% macro month_end(date) %}
    {% set next = date.replace(day=28) + modules.datetime.timedelta(days=4) %}
    {% do return(next - modules.datetime.timedelta(days=next.day)) %}
{% endmacro %}
