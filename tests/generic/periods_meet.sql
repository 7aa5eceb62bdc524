{#-
    The versions of each thing meet: each begins where the one before ends, none overlaps another, and exactly one is
    current. A row here names one whose history would multiply or lose rows in a join as of a moment: the owner rebuilds
    the model with --full-refresh and finds out which build left it so; until then readers see its last good rows.
-#}
{% test periods_meet(model, key) %}
with versions as (
    select
        {{ key }},
        valid_from,
        valid_to,
        is_current,
        lead(valid_from) over history as next_valid_from,
        sum(case when is_current then 1 else 0 end) over (partition by {{ key }}) as currents_count
    from {{ model }}
    window history as (partition by {{ key }} order by valid_from asc, version_number asc)
)

select
    {{ key }},
    valid_from,
    valid_to,
    next_valid_from,
    is_current,
    currents_count
from versions
where
    valid_to is distinct from next_valid_from
    or is_current <> (next_valid_from is null)
    or currents_count <> 1
{% endtest %}
