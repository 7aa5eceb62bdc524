{#-
    Every state of a thing, by `states`, lies in exactly one version of it. A row here names a state that the history lost
    or holds twice: the owner rebuilds the model, and the one it reads, with --full-refresh; until then readers see its
    last good rows.
-#}
{% test states_are_covered(model, states, key) %}
select
    states.{{ key }},
    states.updated_at,
    count(versions.{{ key }}) as versions_count
from {{ states }} as states
left join {{ model }} as versions
    on
        states.{{ key }} = versions.{{ key }}
        and states.updated_at >= versions.valid_from
        and (states.updated_at < versions.valid_to or versions.valid_to is null)
group by states.{{ key }}, states.updated_at
having count(versions.{{ key }}) <> 1
{% endtest %}
