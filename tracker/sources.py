"""Sites that send visitors, by what they are: search, social, video, shopping, ai, email, payment.

Knows names and hosts, and looks both up. Knows nothing of URLs, campaigns or channels.

In the table a host stands for itself and all below it. `google.*` stands for google.com, google.de, google.co.uk and
so on; the longest entry wins, so mail.google.com is not the search engine. `other` holds such exceptions: sites of a
known house that are nothing but a referrer. Kept after matomo-org/searchengine-and-social-list (CC0-1.0, 2026-07)
and the source categories Google publishes for GA4; engines that no longer answer are left out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple


class Source(NamedTuple):
    """A known sender of visitors: its name in reports and what it is."""

    name: str
    kind: str


KNOWN: dict[str, dict[str, str]] = {
    "search": {
        "google": "google.* com.google.android.googlequicksearchbox",
        "bing": "bing.com cn.bing.com com.microsoft.bing",
        "yahoo": "yahoo.* search.yahoo.* yahoo.co.jp",
        "duckduckgo": "duckduckgo.com com.duckduckgo.mobile.android",
        "ecosia": "ecosia.org com.ecosia.android",
        "yandex": "yandex.* ya.ru",
        "baidu": "baidu.com",
        "startpage": "startpage.com ixquick.com",
        "brave": "search.brave.com",
        "qwant": "qwant.com",
        "kagi": "kagi.com",
        "mojeek": "mojeek.com",
        "swisscows": "swisscows.com",
        "metager": "metager.de metager.org",
        "presearch": "presearch.com",
        "karma": "karmasearch.org",
        "lilo": "search.lilo.org lilo.org",
        "oceanhero": "oceanhero.today",
        "freespoke": "freespoke.com",
        "gibiru": "gibiru.com",
        "stract": "stract.com",
        "yep": "yep.com",
        "ask": "ask.com ask.co.uk",
        "aol": "search.aol.* recherche.aol.* suche.aol.*",
        "excite": "search.excite.*",
        "lycos": "search.lycos.* lycos.*",
        "msn": "msn.com",
        "infospace": "infospace.com dogpile.com webcrawler.com metacrawler.com search.avast.com",
        "avira": "search.avira.com safesearch.avira.com",
        "zapmeta": "zapmeta.*",
        "exalead": "exalead.com exalead.fr",
        "fireball": "fireball.com fireball.de",
        "web.de": "suche.web.de",
        "gmx": "suche.gmx.net suche.gmx.* search.gmx.com",
        "1und1": "suche.1und1.de",
        "t-online": "suche.t-online.de navigationshilfe.t-online.de",
        "freenet": "suche.freenet.de",
        "das-oertliche": "dasoertliche.de",
        "das-telefonbuch": "dastelefonbuch.de",
        "gelbe-seiten": "gelbeseiten.de",
        "search.ch": "search.ch",
        "local.ch": "local.ch",
        "herold": "herold.at",
        "bluewin": "search.bluewin.ch",
        "orange": "lemoteur.orange.fr busca.orange.es",
        "free": "search.free.fr",
        "virgilio": "ricerca.virgilio.it",
        "tiscali": "search.tiscali.it",
        "libero": "arianna.libero.it ricerca.libero.it",
        "sapo": "pesquisa.sapo.pt",
        "uol": "busca.uol.com.br",
        "terra": "buscador.terra.*",
        "onet": "szukaj.onet.pl",
        "wp.pl": "szukaj.wp.pl",
        "seznam": "search.seznam.cz seznam.cz",
        "centrum": "search.centrum.cz",
        "zoznam": "zoznam.sk",
        "najdi": "najdi.si",
        "eniro": "eniro.se",
        "startsiden": "startsiden.no",
        "kvasir": "kvasir.no",
        "neti": "neti.ee",
        "rambler": "nova.rambler.ru rambler.ru",
        "mail.ru": "go.mail.ru",
        "meta.ua": "meta.ua",
        "naver": "search.naver.com naver.com",
        "daum": "search.daum.net daum.net",
        "nate": "search.nate.com",
        "goo": "search.goo.ne.jp",
        "biglobe": "cgi.search.biglobe.ne.jp",
        "auone": "search.auone.jp",
        "rakuten search": "websearch.rakuten.co.jp",
        "sogou": "sogou.com",
        "360": "so.com so.360.cn haosou.com",
        "sm.cn": "sm.cn",
        "coccoc": "coccoc.com",
    },
    "social": {
        "facebook": "facebook.com fb.com fb.me com.facebook.katana com.facebook.orca com.facebook.lite messenger.com",
        "instagram": "instagram.com com.instagram.android",
        "threads": "threads.net threads.com com.instagram.barcelona",
        "linkedin": "linkedin.com lnkd.in com.linkedin.android",
        "xing": "xing.com com.xing.android kununu.com",
        "x": "x.com twitter.com t.co com.twitter.android",
        "tiktok": "tiktok.com com.zhiliaoapp.musically",
        "pinterest": "pinterest.* pin.it com.pinterest",
        "reddit": "reddit.com redd.it com.reddit.frontpage",
        "snapchat": "snapchat.com com.snapchat.android",
        "quora": "quora.com",
        "bluesky": "bsky.app go.bsky.app",
        "mastodon": "mastodon.social mastodon.online mastodon.world hachyderm.io chaos.social fosstodon.org "
        "mstdn.social mas.to social.tchncs.de norden.social troet.cafe infosec.exchange org.joinmastodon.android",
        "pixelfed": "pixelfed.social pixelfed.de",
        "tumblr": "tumblr.com t.umblr.com",
        "whatsapp": "whatsapp.com wa.me com.whatsapp",
        "telegram": "telegram.org t.me org.telegram.messenger",
        "discord": "discord.com discord.gg discordapp.com",
        "slack": "slack.com com.slack",
        "teams": "teams.microsoft.com teams.live.com statics.teams.cdn.office.net",
        "viber": "viber.com",
        "line": "line.me jp.naver.line.android",
        "kakao": "kakao.com",
        "wechat": "wechat.com weixin.qq.com",
        "weibo": "weibo.com weibo.cn t.cn",
        "qzone": "qzone.qq.com",
        "douban": "douban.com",
        "xiaohongshu": "xiaohongshu.com",
        "zhihu": "zhihu.com",
        "vk": "vk.com vkontakte.ru away.vk.com",
        "odnoklassniki": "ok.ru odnoklassniki.ru",
        "my.mail.ru": "my.mail.ru",
        "livejournal": "livejournal.com",
        "flickr": "flickr.com",
        "medium": "medium.com",
        "hacker news": "news.ycombinator.com",
        "stack overflow": "stackoverflow.com stackexchange.com",
        "github": "github.com",
        "product hunt": "producthunt.com",
        "meetup": "meetup.com",
        "nextdoor": "nextdoor.*",
        "foursquare": "foursquare.com",
        "yelp": "yelp.*",
        "tripadvisor": "tripadvisor.*",
        "gutefrage": "gutefrage.net",
        "jodel": "jodel.com",
        "goodreads": "goodreads.com",
        "last.fm": "last.fm",
        "behance": "behance.net",
        "dribbble": "dribbble.com",
        "mixi": "mixi.jp",
        "taringa": "taringa.net",
        "viadeo": "viadeo.com",
        "linktree": "linktr.ee",
        "buffer": "buffer.com",
        "hootsuite": "hootsuite.com ow.ly",
    },
    "video": {
        "youtube": "youtube.com youtu.be youtube-nocookie.com com.google.android.youtube",
        "vimeo": "vimeo.com",
        "dailymotion": "dailymotion.com dai.ly",
        "twitch": "twitch.tv",
        "wistia": "wistia.com wistia.net",
        "netflix": "netflix.com",
        "hulu": "hulu.com",
        "disneyplus": "disneyplus.com",
        "joyn": "joyn.de",
        "rumble": "rumble.com",
        "peertube": "joinpeertube.org",
        "bilibili": "bilibili.com",
        "youku": "youku.com",
        "iqiyi": "iqiyi.com",
        "niconico": "nicovideo.jp",
        "rutube": "rutube.ru",
    },
    "shopping": {
        "amazon": "amazon.*",
        "ebay": "ebay.* ebay.us",
        "google shopping": "shopping.google.* merchants.google.*",
        "kleinanzeigen": "kleinanzeigen.de ebay-kleinanzeigen.de",
        "idealo": "idealo.*",
        "billiger": "billiger.de",
        "geizhals": "geizhals.* cenowarka.pl",
        "guenstiger": "guenstiger.de",
        "preisvergleich": "preisvergleich.de",
        "toppreise": "toppreise.ch",
        "check24": "check24.de",
        "otto": "otto.de",
        "kaufland": "kaufland.*",
        "zalando": "zalando.*",
        "galaxus": "galaxus.* digitec.ch",
        "ricardo": "ricardo.ch",
        "willhaben": "willhaben.at",
        "etsy": "etsy.com",
        "shopify": "shop.app",
        "walmart": "walmart.com",
        "alibaba": "alibaba.com 1688.com",
        "aliexpress": "aliexpress.*",
        "temu": "temu.com",
        "shein": "shein.*",
        "taobao": "taobao.com tmall.com",
        "jd": "jd.com",
        "rakuten": "rakuten.*",
        "mercadolibre": "mercadolibre.* mercadolivre.*",
        "allegro": "allegro.pl",
        "bol": "bol.com",
        "cdiscount": "cdiscount.com",
        "leboncoin": "leboncoin.fr",
        "kelkoo": "kelkoo.*",
        "pricerunner": "pricerunner.*",
        "pricespy": "pricespy.* prisjakt.nu",
        "heureka": "heureka.cz heureka.sk",
        "ceneo": "ceneo.pl",
        "shopzilla": "shopzilla.*",
        "pricegrabber": "pricegrabber.com",
    },
    "ai": {
        "chatgpt": "chatgpt.com chat.openai.com openai.com com.openai.chatgpt",
        "perplexity": "perplexity.ai ai.perplexity.app.android",
        "gemini": "gemini.google.com bard.google.com com.google.android.apps.bard",
        "notebooklm": "notebooklm.google.com",
        "copilot": "copilot.microsoft.com copilot.com copilot.cloud.microsoft m365.cloud.microsoft "
        "com.microsoft.copilot",
        "claude": "claude.ai com.anthropic.claude",
        "mistral": "chat.mistral.ai",
        "deepseek": "chat.deepseek.com deepseek.com",
        "grok": "grok.com ai.x.grok",
        "meta ai": "meta.ai",
        "duck.ai": "duck.ai",
        "you": "you.com",
        "phind": "phind.com",
        "poe": "poe.com",
        "iask": "iask.ai",
        "andi": "andisearch.com",
        "komo": "komo.ai",
        "felo": "felo.ai",
        "genspark": "genspark.ai",
        "manus": "manus.im",
        "kimi": "kimi.com kimi.moonshot.cn",
        "qwen": "chat.qwen.ai qwen.ai tongyi.aliyun.com",
        "doubao": "doubao.com",
        "ernie": "yiyan.baidu.com ai.baidu.com chat.baidu.com",
        "chatglm": "chatglm.cn",
        "pi": "pi.ai",
        "character.ai": "character.ai",
        "huggingchat": "hf.co huggingface.co",
        "jasper": "app.jasper.ai",
        "writesonic": "app.writesonic.com",
        "neeva": "neeva.com",
    },
    "email": {
        "gmail": "mail.google.com com.google.android.gm",
        "outlook": "outlook.live.com outlook.office.com outlook.office365.com outlook.com mail.live.com hotmail.com "
        "safelinks.protection.outlook.com com.microsoft.office.outlook",
        "yahoo mail": "mail.yahoo.com mail.yahoo.* overview.mail.yahoo.com",
        "icloud mail": "icloud.com",
        "web.de mail": "web.de navigator.web.de deref-web-02.de deref-web.de",
        "gmx mail": "gmx.* navigator.gmx.net deref-gmx.net",
        "t-online mail": "email.t-online.de",
        "ionos mail": "email.ionos.de mail.ionos.de",
        "freenet mail": "email.freenet.de",
        "proton mail": "mail.proton.me protonmail.com",
        "tuta": "app.tuta.com mail.tutanota.com",
        "posteo": "posteo.de",
        "mailbox.org": "mailbox.org",
        "aol mail": "mail.aol.com",
        "zoho mail": "mail.zoho.com mail.zoho.eu",
        "fastmail": "fastmail.com app.fastmail.com",
        "bluewin mail": "webmail.bluewin.ch",
        "orange mail": "mail.orange.fr messagerie.orange.fr",
        "laposte": "webmail.laposte.net",
        "libero mail": "mail.libero.it",
        "seznam mail": "email.seznam.cz",
        "yandex mail": "mail.yandex.ru mail.yandex.*",
        "mail.ru mail": "e.mail.ru",
        "qq mail": "mail.qq.com",
        "163 mail": "mail.163.com",
        "naver mail": "mail.naver.com",
        "roundcube": "roundcube.net",
        "superhuman": "superhuman.com",
    },
    # A visitor who comes back from paying has not arrived anew.
    "payment": {
        "paypal": "paypal.com paypalobjects.com",
        "stripe": "stripe.com checkout.stripe.com stripe.network",
        "klarna": "klarna.com klarna.net klarna.de sofort.com",
        "amazon pay": "pay.amazon.* payments.amazon.* payments-eu.amazon.com",
        "google pay": "pay.google.com",
        "apple pay": "applepay.apple.com",
        "adyen": "adyen.com adyenpayments.com",
        "mollie": "mollie.com mollie.nl",
        "unzer": "unzer.com heidelpay.com heidelpay.de hpcgw.net",
        "payone": "payone.com payone.de pay1.de",
        "computop": "computop-paygate.com computop.com",
        "concardis": "concardis.com payengine.de",
        "worldline": "worldline-solutions.com ogone.com saferpay.com six-payment-services.com",
        "datatrans": "datatrans.com datatrans.biz",
        "postfinance": "postfinance.ch",
        "twint": "twint.ch",
        "wirecard": "wirecard.com",
        "novalnet": "novalnet.de",
        "ratepay": "ratepay.com",
        "billie": "billie.io",
        "giropay": "giropay.de paydirekt.de",
        "girocheckout": "girosolution.de girocheckout.de",
        "wero": "wero-wallet.eu",
        "eps": "eps-ueberweisung.at",
        "ideal": "ideal.nl",
        "bancontact": "bancontact.com",
        "przelewy24": "przelewy24.pl",
        "payu": "payu.com payu.pl",
        "trustly": "trustly.com",
        "nets": "nets.eu dibspayment.eu",
        "vipps": "vipps.no",
        "worldpay": "worldpay.com",
        "opayo": "opayo.eu sagepay.com",
        "braintree": "braintreegateway.com braintree-api.com",
        "square": "squareup.com square.link",
        "checkout.com": "checkout.com",
        "authorize.net": "authorize.net",
        "2checkout": "2checkout.com 2co.com",
        "paysafe": "paysafecard.com skrill.com paysafe.com",
        "digistore24": "digistore24.com",
        "copecart": "copecart.com",
        "3-d secure": "arcot.com cardinalcommerce.com 3dsecure.io netcetera.com wlp-acs.com",
    },
    # Houses of the kinds above, but not that kind.
    "other": {
        "google services": "accounts.google.com docs.google.com drive.google.com sites.google.com calendar.google.com "
        "classroom.google.com meet.google.com chat.google.com groups.google.* play.google.com support.google.com "
        "translate.google.* keep.google.com tagassistant.google.com ads.google.com analytics.google.com "
        "search.google.com business.google.com cloud.google.com news.google.*",
        "yandex services": "metrika.yandex.* webvisor.com translate.yandex.* disk.yandex.*",
        "amazon services": "aws.amazon.com developer.amazon.com",
        "microsoft services": "login.live.com",
        "openai services": "platform.openai.com help.openai.com",
        "bing services": "ads.bing.com",
        "you services": "about.you.com",
    },
}

# What marketers write into utm_source, where it is not the name or the host itself.
ALIASES = {
    "fb": "facebook", "meta": "facebook", "facebook ads": "facebook", "facebookads": "facebook", "fb ads": "facebook",
    "meta ads": "facebook", "ig": "instagram", "insta": "instagram", "instagram ads": "instagram",
    "twitter": "x", "li": "linkedin", "linkedin ads": "linkedin", "linkedinads": "linkedin", "tiktok ads": "tiktok",
    "pinterest ads": "pinterest", "reddit ads": "reddit", "snap": "snapchat",
    "adwords": "google", "googleads": "google", "google ads": "google", "googleadwords": "google", "ggl": "google",
    "gads": "google", "bingads": "bing", "bing ads": "bing", "microsoft ads": "bing", "microsoftads": "bing",
    "microsoft advertising": "bing", "ddg": "duckduckgo", "yt": "youtube", "youtube ads": "youtube",
    "froogle": "google shopping", "googleshopping": "google shopping", "openai": "chatgpt", "le chat": "mistral",
    "bard": "gemini", "anthropic": "claude", "metaai": "meta ai",
}  # fmt: skip

UNKNOWN = Source("", "")

_by_name = {name: Source(name, kind) for kind, sites in KNOWN.items() for name in sites if kind != "other"}
_by_host = {
    host: Source(name, "" if kind == "other" else kind)
    for kind, sites in KNOWN.items()
    for name, hosts in sites.items()
    for host in hosts.split()
}
# What `*` stands for at the end of an entry: a country, com, or both. Not any top-level domain, where others register.
_ENDING = re.compile(r"\.(?:(?:com?|net|org|ne|or)\.[a-z]{2}|com|[a-z]{2})$")


@lru_cache(maxsize=4096)
def of_host(host: str) -> Source:
    """What the site at `host` (lower case, no port) is; `UNKNOWN` if it is not in the table."""
    ending = _ENDING.search(host)
    stem = host[: ending.start()] if ending else ""
    while True:
        known = _by_host.get(host) or (_by_host.get(stem + ".*") if stem else None)
        if known is not None:
            return known
        _, dot, host = host.partition(".")
        stem = stem.partition(".")[2]
        if not dot:
            return UNKNOWN


def of_name(name: str) -> Source:
    """What a marketer's word for a source (lower case) means: `fb`, `google_ads`, `chatgpt.com`."""
    spaced = name.replace("_", " ").replace("-", " ")
    known = _by_name.get(name) or _by_name.get(ALIASES.get(name) or ALIASES.get(spaced) or spaced)
    # RFC 1035 2.3.4: no host is longer.
    if known is None and "." in name and len(name) <= 253:
        known = of_host(name)
    return known or UNKNOWN
