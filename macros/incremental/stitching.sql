{#-
    Post-hook of fct_sessions, in its transaction: whom a device is stitched to is written over its anonymous sessions of
    days that the build does not replace. Only devices that the new batches touch are looked at, and only rows that
    change are written; where rows were taken away, no batch holds their devices any more, so all are looked at. The days
    of the changed rows are noted: they are published, and tested, again.
-#}
{% macro write_stitched_users_back(stitched, touched_keys) %}
    {% if not execute or flags.WHICH not in ('build', 'run', 'retry') or not is_incremental() %}{% do return('') %}{% endif %}
    {% set changed %}
        select
            sessions.session_key,
            sessions.started_date,
            devices.user_key
        from {{ this }} as sessions
        left join {{ stitched }} as devices on sessions.device_key = devices.device_key
        where
            sessions.user_key is null
            and sessions.has_stitching_consent
            and sessions.stitched_user_key is distinct from devices.user_key
            {% if not step().takes_away %}and sessions.device_key in ({{ select_touched_keys('device_key', touched_keys) }}){% endif %}
    {% endset %}
    {% set rows = run_query("select distinct strftime(started_date, '%Y-%m-%d') from (" ~ changed ~ ") order by all") %}
    {% set days = rows.columns[0].values() | list %}
    {% if days %}
    update {{ this }} as sessions
    set stitched_user_key = changed.user_key
    from ({{ changed }}) as changed
    where sessions.session_key = changed.session_key and {{ in_days('sessions.started_date', days) }};
    {{ record_changed_days(model.name, days) }}
    {% endif %}
{% endmacro %}
