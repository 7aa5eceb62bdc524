"""SQL of who uses the products: people, and the devices and accounts they have."""

from __future__ import annotations

from flows.sample.consents import AGREED


def devices(people: int, clock_off_share: float, bot_share: float) -> str:
    """People have one to four devices; on some they are logged in, on others nobody knows them."""
    return f"""
    create or replace table devices as
    with people as (
        select range as person_no, rnd(range, 'devices') as draw from range({people})
    ),
    numbered as (
        select
            person_no,
            person_no * 4 + device_index as device_no,
            device_index,
            rnd(person_no * 4 + device_index, 'platform') as platform_draw,
            rnd(person_no, 'account') < 0.6 and rnd(person_no * 4 + device_index, 'login') < 0.75
                as is_logged_in
        from people, range(4) as slots(device_index)
        where device_index = 0 or draw > [0.35, 0.75, 0.93][device_index]
    ),
    described as (
        select
            *,
            case
                when device_index = 0 then
                    case when platform_draw < 0.72 then 'web' when platform_draw < 0.86 then 'ios'
                        when platform_draw < 0.97 then 'android' else 'tv' end
                when device_index = 1 then
                    case when platform_draw < 0.40 then 'ios' when platform_draw < 0.75 then 'android'
                        else 'web' end
                when device_index = 2 then if(platform_draw < 0.7, 'tv', 'web')
                else 'web'
            end as platform
        from numbered
    ),
    completed as (
        select
            device_no,
            person_no,
            device_index,
            platform,
            'd-' || lower(to_hex(pick(device_no, 'device', 1048576) * 16777216 + device_no)) as device_id,
            if(is_logged_in, 'u-' || person_no, null) as user_id,
            platform = 'web' and rnd(device_no, 'bot') < {bot_share} as is_bot,
            case
                when rnd(device_no, 'clock') < {clock_off_share} / 2 then 3600000
                when rnd(device_no, 'clock') < {clock_off_share} then -3600000
                else 0
            end as clock_off_ms,
            {AGREED} as consent,
            case
                when rnd(person_no, 'country') < 0.9 then 'SE'
                else choose(person_no, 'abroad', ['NO', 'FI', 'DK', 'DE', 'GB'])
            end as country,
            -- The three networks that RFC 5737 keeps for documentation.
            choose(device_no, 'network', ['192.0.2.', '198.51.100.', '203.0.113.'])
                || (1 + pick(device_no, 'host', 254)) as ip_address,
            case when platform = 'web' then '2026.1' else '7.' || pick(device_no, 'version', 4) || '.0' end
                as app_version
        from described
    )
    select
        *,
        case
            when is_bot then choose(device_no, 'bot agent', [
                'Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)',
                'Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)',
                'Mozilla/5.0 (X11; Linux x86_64) HeadlessChrome/131.0 Safari/537.36'
            ])
            when platform = 'web' then choose(device_no, 'web agent', [
                'Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0 Safari/537.36',
                'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.2 Safari/605.1.15',
                'Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0',
                'Mozilla/5.0 (iPhone; CPU iPhone OS 18_2) Version/18.2 Mobile Safari/604.1'
            ])
            when platform = 'ios' then 'App/' || app_version || ' (iPhone; iOS 18.2)'
            when platform = 'android' then 'App/' || app_version || ' (Pixel 8; Android 15)'
            else 'App/' || app_version || ' (SmartTV; Tizen 8.0)'
        end as user_agent
    from completed
    order by device_no
    """


# What a device's events have in common in JSON, made once per device: text is the dearest part of a line.
DEVICES_AS_JSON = """
    create or replace table device_texts as
    select
        device_no,
        '","platform":"' || platform || '","app_version":"' || app_version || '","device_id":"' || device_id
            || '","user_id":' || coalesce('"' || user_id || '"', 'null') || ',"session_id":null' as head,
        ',"consent":[' || coalesce('"' || nullif(array_to_string(consent, '","'), '') || '"', '')
            || '],"country":"' || country || '","ip_address":"' || ip_address
            || '","user_agent":"' || user_agent || '",' as tail
    from devices
    order by device_no
"""
# Which devices there are per place in the person's list, to find a device without a search.
PEOPLE = """
    create or replace table people as
    select person_no, count(*) as devices_count from devices group by person_no order by person_no
"""


def account_versions(people: int, days: int) -> str:
    """People with an account. Every name, number and address is one that nobody can have.

    An account says what its owner agreed to when it was made; some withdraw consent to advertising when they change it,
    and some accounts do not say.
    """
    return f"""
    create or replace table account_versions as
    with people as (
        select
            range as person_no,
            -- Who can be logged in had an account before the lake began; some sign up while it lasts.
            if(
                rnd(range, 'account') < 0.6,
                -1 - pick(range, 'account age', 700),
                pick(range, 'signs up', {days})
            ) as day
        from range({people})
        where rnd(range, 'account') < 0.7
    ),
    accounts as (
        select
            person_no,
            people.day,
            coalesce(start_ms, (select min(start_ms) from days) + people.day * 86400000)
                + pick(person_no, 'signed up at', 82800000) as created_ms
        from people left join days using (day)
    ),
    changes as (
        select
            person_no, created_ms,
            days.start_ms + pick(person_no * 4096 + days.day, 'account changed at', 82800000) as updated_ms
        from accounts, days
        where days.day > accounts.day and rnd(person_no * 4096 + days.day, 'account change') < 0.002
    ),
    versions as (
        select person_no, created_ms, created_ms as updated_ms from accounts
        union all
        select * from changes
    ),
    counted as (
        select *, row_number() over (partition by person_no order by updated_ms) as version from versions
    ),
    agreeing as (
        select
            *,
            rnd(person_no, 'account says') < 0.9 as says_consent,
            {AGREED} as agreed,
            min(if(version > 1 and rnd(person_no * 4096 + version, 'withdraws advertising') < 0.3, updated_ms, null))
                over (partition by person_no order by version) as withdrawn_ms
        from counted
    )
    select
        'k-' || person_no as account_id,
        'u-' || person_no as user_id,
        'person' || person_no || if(version > 1, '.' || version, '') || '@example.org' as email,
        -- +46 70 174 06 05 to 99 are kept for fiction.
        '+46 70 174 06 ' || lpad((5 + pick(person_no + version, 'phone', 95))::varchar, 2, '0') as phone,
        choose(person_no, 'first name', ['Alva', 'Bo', 'Cilla', 'David', 'Elsa', 'Frans', 'Greta', 'Hugo'])
            || choose(person_no, 'last name', [' Exempelsson', ' Provberg', ' Testgren', ' Låtsaslund',
                ' Påhitt'])
            as full_name,
        date '1940-01-01' + pick(person_no, 'born', 24000)::int as birth_date,
        -- Towns and streets that are nowhere; countries as different people write them, and some not at all.
        if(
            rnd(person_no, 'has address') < 0.9,
            choose(person_no, 'street', ['Exempelgatan', 'Provvägen', 'Testbacken', 'Låtsasgränd'])
                || ' ' || (1 + pick(person_no + version, 'house', 80))
                || choose(person_no, 'town', [
                    ', 123 45 Provköping, Sverige', ', 123 45 Provköping, Sverige', ', 543 21 Testinge, Sweden',
                    ', 543 21 Testinge, SE', ', 543 21 Testinge', ', 0123 Prøveby, Norge', ', 01234 Koekylä, Suomi',
                    ', 1234 Prøvestad, DNK'
                ]),
            null
        ) as address,
        created_ms,
        updated_ms,
        if(
            says_consent, list_filter(agreed, one -> withdrawn_ms is null or one != 'advertising'), null
        ) as consent,
        if(says_consent, coalesce(if('advertising' in agreed, withdrawn_ms, null), created_ms), null) as consent_ms
    from agreeing
    """
