{#-
    What takes the place of our own macros of these names in the SQLMesh models (benchmarks/peers/generate.py): the days
    that a run makes are those that SQLMesh asks for, and landed rows are read from the lake, not from what the
    warehouse knows of it.
-#}

{#- What is made whole (EARLIER_DAYS in generate.py) reads all days. -#}
{% macro in_days_to_replace(column='event_date', before=0, after=0) -%}
    {%- set whole = ['affected_week_ends', 'affected_cohort_weeks', 'affected_weeks_after', 'affected_days_of_adjusted', 'affected_days_of_attractiveness', 'affected_days_of_selection', 'affected_days_of_sectioned', 'affected_days_of_enjoyment', 'affected_mondays'] -%}
    {%- if model.config.get('meta', {}).get('days_to_replace') in whole -%}true
    {%- else -%}{{ column }} between @start_date{{ ' - ' ~ before if before }} and @end_date{{ ' + ' ~ after if after }}{%- endif -%}
{%- endmacro %}

{% macro in_weeks_to_replace(column='event_date') -%}
    true
{%- endmacro %}

{% macro in_four_weeks_before(column='event_date') -%}
    true
{%- endmacro %}

{% macro from_first_day_to_replace(column='event_date') -%}
    {{ column }} >= @start_date
{%- endmacro %}

{#- A month that ends on a day has at most 30 days before it. -#}
{% macro in_periods_to_replace(column='event_date') -%}
    {{ column }} between @start_date - 30 and @end_date
{%- endmacro %}

{#- The glob leaves out the files of unknown keys beside the rejects. -#}
{% macro parquet_of_batches(query, columns) -%}
    {%- set dataset = modules.re.search("dataset = '([a-z_]+)'", query) -%}
    (
        select {% for name, type in columns.items() %}cast({{ name }} as {{ type }}) as {{ name }}{{ ', ' if not loop.last }}{% endfor %}
        from read_parquet(@VAR('lake') || '{{ '/landed/' ~ dataset[1] ~ '/batch-*/data.parquet' if dataset else '/quarantine/*/batch-????????????.parquet' }}')
    )
{%- endmacro %}
