{#-
    Adverts and the places they are shown in. A place's curve is made of the four ISO weeks before, and holds for a week;
    an advert's score of 28 days. What changes them is noted by day or week in ops.changes.
-#}

{#- For meta.days_to_replace: the first days of the four ISO weeks after those that hold the affected days. -#}
{% macro affected_weeks_after() %}
    {% set weeks = [] %}
    {% for day in affected_days() %}
        {% set sunday = week_end(modules.datetime.date.fromisoformat(day)) %}
        {% for number in range(4) %}
            {% do weeks.append((sunday + modules.datetime.timedelta(days=1 + 7 * number)).isoformat()) %}
        {% endfor %}
    {% endfor %}
    {% do return(weeks | unique | sort) %}
{% endmacro %}

{#- The condition that leaves in a model of weeks the days of the four weeks before those it replaces: true on a full build. -#}
{% macro in_four_weeks_before(column='event_date') %}
    {%- if not is_incremental() %}true{% else %}
    {{- in_days(column, widen_days(days_to_replace(), 28, -1)) }}
    {%- endif %}
{%- endmacro %}

{#-
    For meta.days_to_replace of int_adverts__adverts_adjusted: the affected days, those whose curve changed, and those on
    which a touched advert is of another segment than was noted.
-#}
{% macro affected_days_of_adjusted() %}
    {% set days = affected_days() + days_changed_by('int_adverts__places_estimated', 6, 'int_adverts__places_counted') %}
    {% set noted %}
        select event_date, advert_id, seller_id, segment from {{ this }}
        where {{ in_keys_to_replace('advert_id', ref('int_adverts__adverts_touched')) }}
    {% endset %}
    {% set rows = run_query("
        with noted as (" ~ noted ~ "), now as (" ~ segments_of_adverts('noted') ~ ")
        select distinct strftime(noted.event_date, '%Y-%m-%d')
        from noted
        inner join now on noted.event_date = now.event_date and noted.advert_id = now.advert_id
        where noted.segment <> now.segment or noted.seller_id is distinct from now.seller_id
    ") %}
    {% do return((days + rows.columns[0].values() | list) | unique | sort) %}
{% endmacro %}

{#- For meta.days_to_replace of fct_advert_attractiveness: the days of which one of the 28 up to it changed. -#}
{% macro affected_days_of_attractiveness() %}
    {% if backfill_days() %}{% do return(affected_days()) %}{% endif %}
    {% do return(days_changed_by('int_adverts__adverts_adjusted', 27, 'int_adverts__adverts_adjusted')) %}
{% endmacro %}

{#-
    For meta.days_to_replace of agg_advert_selection: the days whose scores changed. What was shown in the 28 days up to a day
    changes its scores, too.
-#}
{% macro affected_days_of_selection() %}
    {% if backfill_days() %}{% do return(affected_days()) %}{% endif %}
    {% do return(days_changed_by('fct_advert_attractiveness', 0, 'fct_advert_attractiveness')) %}
{% endmacro %}
