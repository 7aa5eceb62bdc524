-- One row per call of a Segment tracker that says what a common event says: pages and screens, and the tracked events that
-- are named below. All other calls (identify, group, and what a product tracks besides) are left out.
--
-- A call says in context.consent what its person agreed to, category by category; the names of the categories are a team's
-- own, so name yours as the contract's purposes are named, or map them here.
with read as (
    select
        * replace (
            case when json_valid(context) then context end as context,
            case when json_valid(properties) then properties end as properties
        )
    from delivered
),

calls as (
    select
        _line,
        messageId as message_id,
        anonymousId as anonymous_id,
        userId as user_id,
        -- Lower case and underscores, however a team writes the names of its events.
        type,
        case when type = 'track' then replace(lower(event), ' ', '_') end as said,
        -- The device's own moment, which a retry repeats. The corrected one (timestamp) differs between retries.
        coalesce(originalTimestamp, timestamp) as occurred_at,
        sentAt as sent_at,
        receivedAt as received_at,
        context ->> '$.app.name' as app,
        context ->> '$.app.version' as app_version,
        lower(coalesce(context ->> '$.os.name', '')) as operating_system,
        context ->> '$.ip' as ip_address,
        context ->> '$.userAgent' as user_agent,
        from_json(context -> '$.consent.categoryPreferences', '"MAP(VARCHAR, BOOLEAN)"') as preferences,
        coalesce(properties ->> '$.content_id', properties ->> '$.path', name) as content_id,
        lower(coalesce(properties ->> '$.content_type', type)) as content_type,
        coalesce(properties ->> '$.referrer', context ->> '$.page.referrer') as referrer,
        properties
    from read
),

named as (
    select
        *,
        case
            when type in ('page', 'screen') then 'content_view'
            when said = 'content_progressed' then 'content_progress'
            when said = 'content_reacted' then 'content_reaction'
            when said = 'products_searched' then 'search'
            when said = 'advert_viewed' then 'advert_impression'
            when said = 'advert_clicked' then 'advert_click'
        end as becomes
    from calls
)

select
    _line,
    as_uuid(message_id) as event_id,
    occurred_at,
    sent_at,
    received_at,
    coalesce(regexp_replace(lower(app), '[^a-z0-9_-]', '-', 'g'), 'web') as product,
    case
        when operating_system like '%ios%' or operating_system like 'ip%' then 'ios'
        when operating_system = 'android' then 'android'
        else 'web'
    end as platform,
    app_version,
    anonymous_id as device_id,
    user_id,
    list_filter(
        ['analytics', 'personalisation', 'advertising'], lambda purpose: coalesce(preferences[purpose], false)
    ) as consent,
    ip_address,
    user_agent,
    case when becomes = 'content_view' then content_id end as "content_view.content_id",
    case when becomes = 'content_view' then content_type end as "content_view.content_type",
    case when becomes = 'content_view' then referrer end as "content_view.referrer",
    case when becomes = 'content_progress' then content_id end as "content_progress.content_id",
    case when becomes = 'content_progress' then content_type end as "content_progress.content_type",
    case when becomes = 'content_progress' then properties ->> '$.depth' end as "content_progress.depth",
    case when becomes = 'content_progress' then properties ->> '$.active_ms' end as "content_progress.active_ms",
    case when becomes = 'content_reaction' then content_id end as "content_reaction.content_id",
    case when becomes = 'content_reaction' then content_type end as "content_reaction.content_type",
    case when becomes = 'content_reaction' then properties ->> '$.reaction' end as "content_reaction.reaction",
    case when becomes = 'search' then properties ->> '$.results_count' end as "search.results_count",
    case when becomes = 'advert_impression' then properties ->> '$.advert_id' end as "advert_impression.advert_id",
    case when becomes = 'advert_impression' then properties ->> '$.slot' end as "advert_impression.slot",
    case when becomes = 'advert_impression' then properties ->> '$.position' end as "advert_impression.position",
    case when becomes = 'advert_click' then properties ->> '$.advert_id' end as "advert_click.advert_id",
    case when becomes = 'advert_click' then properties ->> '$.slot' end as "advert_click.slot",
    case when becomes = 'advert_click' then properties ->> '$.position' end as "advert_click.position"
from named
where becomes is not null
