-- One row per event of a Snowplow tracker that says what a common event says: page views and pings, screen views, media,
-- searches, and adverts as seeds/snowplow_adverts.csv maps them. All other events (link clicks, forms, shops) are left out.
--
-- The moment is the device's own, which a retry repeats; the collector's says which copy came first. A device is the
-- cookie of the domain, in apps the installation. Snowplow's events do not say what a person agreed to: the variable
-- snowplow_consent says what those have agreed to whom the tracker names.
with entities_listed as (
    select
        *,
        -- Inline in the columns of the enriched event.
        [self_described(unstruct_event)]
        || coalesce(entities_of(contexts), [])
        || coalesce(entities_of(derived_contexts), [])
        -- In columns of their own, and in files beside.
        || entities_in(more)
        || entities_in(beside) as entities
    from delivered
),

events as (
    select
        *,
        coalesce(event_name, event) as name,
        coalesce(
            property_of(entity(entities, 'com_snowplowanalytics_snowplow_mobile_context'), 'osType'), os_family, os_name
        ) as operating_system,
        coalesce(page_urlhost || coalesce(page_urlpath, '/'), page_of(page_url)) as page,
        entity(entities, 'com_snowplowanalytics_snowplow_client_session') as client_session,
        coalesce(
            entity(entities, 'com_snowplowanalytics_mobile_screen_view'),
            entity(entities, 'com_snowplowanalytics_snowplow_screen_view')
        ) as screen,
        entity(entities, 'com_snowplowanalytics_snowplow_media_player') as player,
        entity(entities, 'com_snowplowanalytics_snowplow_media_player_event') as player_event,
        entity(entities, 'com_snowplowanalytics_snowplow_media_percent_progress_event') as percent_progress,
        entity(entities, 'com_snowplowanalytics_snowplow_site_search') as site_search
    from entities_listed
),

-- The older media tracker has one event with a type, the newer one an event for each.
media_named as (
    select
        *,
        case
            when name = 'media_player_event' then coalesce(lower(player_event ->> '$.type'), 'not said yet')
            else nullif(replace(regexp_extract(name, '^(play|ping|percent_progress|end)_event$', 1), '_', ''), '')
        end as media_event,
        try_cast(property_of(player, 'currentTime') as double) as played_seconds,
        try_cast(property_of(player, 'duration') as double) as media_seconds,
        -- What its player is, and what happened, may come in files of their own.
        case
            when player is not null and (name <> 'media_player_event' or player_event is not null)
                then coalesce(player ->> '$.label', player_event ->> '$.label', page)
        end as media_id,
        coalesce(lower(property_of(player, 'mediaType')), 'video') as media_type
    from events
),

-- A structured event, or a self-describing one, as the seed says.
adverts_matched as (
    select
        media_named.*,
        adverts.becomes,
        adverts.channel as enquiry_channel,
        named_value(adverts.advert_id, se_label, se_property, se_value, entities) as advert_id,
        named_value(adverts.slot, se_label, se_property, se_value, entities) as slot,
        named_value(adverts.position, se_label, se_property, se_value, entities) as position,
        named_value(adverts.page_type, se_label, se_property, se_value, entities) as page_type,
        named_value(adverts.request_id, se_label, se_property, se_value, entities) as request_id
    from media_named
    left join seeds.snowplow_adverts as adverts
        on
            media_named.name = adverts.event
            and (adverts.category is null or media_named.se_category = adverts.category)
            and (adverts.action is null or media_named.se_action = adverts.action)
    qualify row_number() over (
        partition by media_named._line
        order by adverts.category nulls last, adverts.action nulls last, adverts.becomes nulls last
    ) = 1
),

named as (
    select
        *,
        coalesce(domain_userid, named(property_of(client_session, 'userId'))) as device,
        case
            when becomes is not null then becomes
            when name = 'page_view' or name = 'screen_view' then 'content_view'
            when name = 'page_ping' then 'content_progress'
            when media_event = 'play' and coalesce(played_seconds, 0) < 1 then 'content_view'
            when media_event in ('ping', 'percentprogress', 'end', 'ended', 'not said yet') then 'content_progress'
            when name = 'site_search' then 'search'
        end as type
    from adverts_matched
),

content_read as (
    select
        *,
        case
            when media_event is not null then media_id
            when name = 'screen_view' then screen ->> '$.name'
            else page
        end as content_id,
        case
            when media_event is not null then media_type
            when name = 'screen_view' then 'screen'
            else 'page'
        end as content_type,
        case
            when name = 'page_ping'
                then
                    (coalesce(try_cast(pp_yoffset_max as double), 0) + coalesce(try_cast(br_viewheight as double), 0))
                    / nullif(try_cast(doc_height as double), 0)
            when media_event in ('end', 'ended') then 1
            when media_event = 'percentprogress'
                then
                    try_cast(coalesce(property_of(percent_progress, 'percentProgress'), property_of(player, 'percentProgress'))
                    as double) / 100
            else played_seconds / nullif(media_seconds, 0)
        end as depth,
        case
            when name = 'page_ping' then getvariable('snowplow_heartbeat_seconds') * 1000
            when media_event = 'ping' and not coalesce(try_cast(player ->> '$.paused' as boolean), false)
                then getvariable('snowplow_media_heartbeat_seconds') * 1000
            else 0
        end as active_ms
    from named
    where type is not null
)

select
    _line,
    as_uuid(event_id) as event_id,
    coalesce(dvce_created_tstamp, collector_tstamp) as occurred_at,
    dvce_sent_tstamp as sent_at,
    collector_tstamp as received_at,
    coalesce(regexp_replace(lower(app_id), '[^a-z0-9_-]', '-', 'g'), 'web') as product,
    case
        when platform = 'mob' and operating_system ilike 'android%' then 'android'
        when platform = 'mob' and regexp_matches(operating_system, '^(ios|ipados|iphone)', 'i') then 'ios'
        else platform
    end as platform,
    coalesce(property_of(entity(entities, 'com_snowplowanalytics_mobile_application'), 'version'), v_tracker) as app_version,
    -- Whom a tracker of a website does not name is nobody: such an event lands without a device. An app's device is in
    -- an entity, which may come in a file of its own.
    coalesce(device, case when platform <> 'mob' or client_session is not null then 'anonymous' end) as device_id,
    user_id,
    coalesce(domain_sessionid, property_of(client_session, 'sessionId')) as session_id,
    case when device is not null then getvariable('snowplow_consent') else [] end as consent,
    geo_country as country,
    user_ipaddress as ip_address,
    useragent as user_agent,
    case when type = 'content_view' then content_id end as "content_view.content_id",
    case when type = 'content_view' then content_type end as "content_view.content_type",
    case when type = 'content_view' then page_referrer end as "content_view.referrer",
    case when type = 'content_progress' then content_id end as "content_progress.content_id",
    case when type = 'content_progress' then content_type end as "content_progress.content_type",
    case when type = 'content_progress' then case when depth is not null then greatest(least(depth, 1), 0) end end
        as "content_progress.depth",
    case when type = 'content_progress' then active_ms end as "content_progress.active_ms",
    case
        when type = 'search' and site_search is not null then coalesce(property_of(site_search, 'totalResults'), '0')
    end as "search.results_count",
    case when type = 'advert_impression' then advert_id end as "advert_impression.advert_id",
    case when type = 'advert_impression' then slot end as "advert_impression.slot",
    case when type = 'advert_impression' then rank_of(position) end as "advert_impression.position",
    case when type = 'advert_impression' then page_type end as "advert_impression.page_type",
    case when type = 'advert_impression' then request_id end as "advert_impression.request_id",
    case when type = 'advert_click' then advert_id end as "advert_click.advert_id",
    case when type = 'advert_click' then slot end as "advert_click.slot",
    case when type = 'advert_click' then rank_of(position) end as "advert_click.position",
    case when type = 'advert_click' then page_type end as "advert_click.page_type",
    case when type = 'advert_click' then request_id end as "advert_click.request_id",
    case when type = 'enquiry' then advert_id end as "enquiry.advert_id",
    case when type = 'enquiry' then enquiry_channel end as "enquiry.channel"
from content_read
