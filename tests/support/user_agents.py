"""User agents as they are sent: people's browsers with what they are, and programs with the name they should get."""

from __future__ import annotations

_WIN = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
_MAC = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit"
_IOS = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
_IPAD = "Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)"
_DROID = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko)"
_WEBVIEW = (
    "Mozilla/5.0 (Linux; Android 15; SM-S931B Build/AP3A.240905.015; wv) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Version/4.0 Chrome/141.0.7390.70 Mobile Safari/537.36"
)

# user agent, browser, system, device
BROWSERS: list[tuple[str, str | None, str | None, str]] = [
    (f"{_WIN} Chrome/141.0.0.0 Safari/537.36", "Chrome", "Windows", "desktop"),
    (f"{_WIN} Chrome/109.0.0.0 Safari/537.36", "Chrome", "Windows", "desktop"),
    (f"{_WIN} Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0", "Edge", "Windows", "desktop"),
    (f"{_WIN} Chrome/140.0.0.0 Safari/537.36 OPR/124.0.0.0", "Opera", "Windows", "desktop"),
    (f"{_WIN} Chrome/139.0.0.0 Safari/537.36 Vivaldi/7.6.3797.58", "Vivaldi", "Windows", "desktop"),
    (f"{_WIN} Chrome/138.0.0.0 YaBrowser/25.8.0.0 Safari/537.36", "Yandex", "Windows", "desktop"),
    (f"{_WIN} Chrome/138.0.0.0 Whale/4.33.325.17 Safari/537.36", "Whale", "Windows", "desktop"),
    (f"{_WIN} Chrome/134.0.6998.205 Electron/35.7.5 Safari/537.36", "Electron", "Windows", "desktop"),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0",
        "Firefox", "Windows", "desktop",
    ),
    (
        "Mozilla/5.0 (Windows NT 6.1; Win64; x64; rv:115.0) Gecko/20100101 Firefox/115.0",
        "Firefox", "Windows", "desktop",
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; .NET4.0E; .NET CLR 2.0.50727; rv:11.0) like Gecko",
        "Internet Explorer", "Windows", "desktop",
    ),
    (
        "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; SLCC2; .NET CLR 2.0.50727; InfoPath.3)",
        "Internet Explorer", "Windows", "desktop",
    ),
    (f"{_MAC}/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15", "Safari", "macOS", "desktop"),
    (f"{_MAC}/605.1.15 (KHTML, like Gecko) Version/17.6 Safari/605.1.15", "Safari", "macOS", "desktop"),
    (f"{_MAC}/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36", "Chrome", "macOS", "desktop"),
    (
        f"{_MAC}/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.3537.71",
        "Edge", "macOS", "desktop",
    ),
    ("Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:144.0) Gecko/20100101 Firefox/144.0", "Firefox", "macOS", "desktop"),
    (f"{_MAC}/605.1.15 (KHTML, like Gecko) Version/18.4 Safari/605.1.15 Ddg/18.4", "DuckDuckGo", "macOS", "desktop"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0", "Firefox", "Linux", "desktop"),
    ("Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0", "Firefox", "Linux", "desktop"),
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
        "Chrome", "Linux", "desktop",
    ),
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15 Epiphany/605.1.15",
        "Epiphany", "Linux", "desktop",
    ),
    (
        "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
        "Chrome", "ChromeOS", "desktop",
    ),
    (f"{_IOS} Version/18.6 Mobile/15E148 Safari/604.1", "Safari", "iOS", "mobile"),
    (f"{_IOS} CriOS/141.0.7390.41 Mobile/15E148 Safari/604.1", "Chrome", "iOS", "mobile"),
    (f"{_IOS} FxiOS/144.0 Mobile/15E148 Safari/605.1.15", "Firefox", "iOS", "mobile"),
    (f"{_IOS} Version/18.0 EdgiOS/141.0.3537.60 Mobile/15E148 Safari/605.1.15", "Edge", "iOS", "mobile"),
    (f"{_IOS} GSA/388.0.811331708 Mobile/15E148 Safari/604.1", "Google", "iOS", "mobile"),
    (f"{_IOS} Mobile/15E148 [FBAN/FBIOS;FBAV/531.0.0.47.108;FBDV/iPhone15,2;FBLC/de_DE]", "Facebook app", "iOS", "mobile"),
    (f"{_IOS} Mobile/22G86 Instagram 400.0.0.32.77 (iPhone15,2; iOS 18_6; de_DE; de)", "Instagram app", "iOS", "mobile"),
    (f"{_IOS} Mobile/15E148 [LinkedInApp]/9.31.2471", "LinkedIn app", "iOS", "mobile"),
    (f"{_IOS} Mobile/22G86 MicroMessenger/8.0.63(0x18003f2f) NetType/WIFI Language/de", None, "iOS", "mobile"),
    (f"{_IOS} Mobile/22G86 Safari Line/15.15.0", None, "iOS", "mobile"),
    (f"{_IOS} Mobile/15E148 Snapchat/13.60.0.46 (iPhone15,2; iOS 18.6; gzip)", None, "iOS", "mobile"),
    (f"{_IOS} Mobile/15E148 musical_ly_41.9.0 JsSdk/2.0 NetType/WIFI Channel/App Store ByteLocale/de Region/DE", None, "iOS", "mobile"),
    (f"{_IOS} Mobile/22G86 [Pinterest/iOS]", None, "iOS", "mobile"),
    (f"{_IPAD} Version/16.6 Mobile/15E148 Safari/604.1", "Safari", "iOS", "tablet"),
    (f"{_DROID} Chrome/141.0.0.0 Mobile Safari/537.36", "Chrome", "Android", "mobile"),
    (f"{_DROID} Chrome/141.0.0.0 Safari/537.36", "Chrome", "Android", "tablet"),
    (f"{_DROID} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36", "Samsung Internet", "Android", "mobile"),
    (f"{_DROID} Chrome/141.0.0.0 Mobile Safari/537.36 EdgA/141.0.0.0", "Edge", "Android", "mobile"),
    (f"{_DROID} Chrome/138.0.0.0 Mobile Safari/537.36 OPR/91.0.0.0", "Opera", "Android", "mobile"),
    ("Mozilla/5.0 (Android 15; Mobile; rv:144.0) Gecko/144.0 Firefox/144.0", "Firefox", "Android", "mobile"),
    (f"{_WEBVIEW} [FB_IAB/FB4A;FBAV/530.0.0.48.74;]", "Facebook app", "Android", "mobile"),
    (f"{_WEBVIEW} Instagram 401.0.0.48.79 Android (35/15; 480dpi; 1080x2340; samsung; SM-S931B)", "Instagram app", "Android", "mobile"),
    (f"{_WEBVIEW} GSA/16.40.33.sa.arm64", "Google", "Android", "mobile"),
    (f"{_WEBVIEW} trill_400203 BytedanceWebview/d8a21c6", None, "Android", "mobile"),
    (f"{_WEBVIEW} [Pinterest/Android]", None, "Android", "mobile"),
    (
        "Mozilla/5.0 (Linux; U; Android 14; de-de; 23127PN0CG Build/UKQ1.230804.001) AppleWebKit/537.36 "
        "(KHTML, like Gecko) Version/4.0 Chrome/119.0.6045.193 Mobile Safari/537.36 XiaoMi/MiuiBrowser/14.25.0-gn",
        "MiuiBrowser", "Android", "mobile",
    ),
    (
        "Mozilla/5.0 (Linux; Android 12; HUAWEI ANA-NX9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/114.0.5735.196 "
        "HuaweiBrowser/16.0.6.302 Mobile Safari/537.36",
        None, "Android", "mobile",
    ),
    (
        # A phone of the maker Cubot, whose name ends like a robot's.
        "Mozilla/5.0 (Linux; Android 11; CUBOT X30) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/96.0.4664.45 Mobile Safari/537.36",
        "Chrome", "Android", "mobile",
    ),
    (
        "Mozilla/5.0 (Linux; Android 13; CUBOT_P80) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Mobile Safari/537.36",
        "Chrome", "Android", "mobile",
    ),
    (
        "Mozilla/5.0 (Linux; Android 9; KFTRWI) AppleWebKit/537.36 (KHTML, like Gecko) Silk/141.1.1 like Chrome/141.0.7390.70 Safari/537.36",
        "Amazon Silk", None, "tablet",
    ),
    (
        "Mozilla/5.0 (Linux; Android 13; SM-X700) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/127.0.0.0 Safari/537.36",
        "Chrome", "Android", "tablet",
    ),
    ("Opera/9.80 (Android; Opera Mini/36.2.2254/191.303; U; en) Presto/2.12.423 Version/12.16", "Opera", "Android", "mobile"),
    ("Opera/9.80 (Windows NT 6.1; WOW64) Presto/2.12.388 Version/12.18", "Opera", "Windows", "desktop"),
    ("UCWEB/2.0 (Java; U; MIDP-2.0; en-US; nokia301) U2/1.0.0 UCBrowser/9.5.0.449 U2/1.0.0 Mobile", None, None, "mobile"),
    (
        "Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) 76.0.3809.146/6.0 TV Safari/537.36",
        None, None, "tv",
    ),
    (
        "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/87.0.4280.88 Safari/537.36 WebAppManager",
        "Chrome", None, "tv",
    ),
    (
        "Mozilla/5.0 (PlayStation; PlayStation 5/2.26) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Safari/605.1.15",
        None, None, "console",
    ),
    (
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox One) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/44.0.2403.157 Safari/537.36 Edge/18.19041",
        "Edge", None, "console",
    ),
    ("Lynx/2.9.0dev.10 libwww-FM/2.14 SSL-MM/1.4.1 GNUTLS/3.7.1", "Lynx", None, "other"),
    ("w3m/0.5.3+git20230121", None, None, "other"),
]  # fmt: skip

# user agent, a word that must stand in the bot's name
BOTS: list[tuple[str, str]] = [
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Googlebot"),
    (
        "Mozilla/5.0 (Linux; Android 6.0.1; Nexus 5X Build/MMB29P) AppleWebKit/537.36 (KHTML, like Gecko) "
        "Chrome/141.0.7390.70 Mobile Safari/537.36 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
        "Googlebot",
    ),
    ("Googlebot-Image/1.0", "Googlebot-Image"),
    ("AdsBot-Google (+http://www.google.com/adsbot.html)", "AdsBot-Google"),
    ("Mediapartners-Google", "Mediapartners"),
    ("Mozilla/5.0 (compatible; GoogleOther)", "GoogleOther"),
    ("FeedFetcher-Google; (+http://www.google.com/feedfetcher.html)", "FeedFetcher-Google"),
    (
        "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
        "GoogleImageProxy",
    ),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) Chrome/116.0.1938.76 Safari/537.36",
        "bingbot",
    ),
    ("Mozilla/5.0 (compatible; YandexBot/3.0; +http://yandex.com/bots)", "Yandex"),
    ("Mozilla/5.0 (compatible; Baiduspider/2.0; +http://www.baidu.com/search/spider.html)", "Baiduspider"),
    ("DuckDuckBot/1.1; (+http://duckduckgo.com/duckduckbot.html)", "DuckDuckBot"),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_5) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.1.1 Safari/605.1.15 (Applebot/0.1; +http://www.apple.com/go/applebot)",
        "Applebot",
    ),
    ("Mozilla/5.0 (compatible; SeznamBot/4.0; +http://napoveda.seznam.cz/seznambot-intro/)", "SeznamBot"),
    ("Mozilla/5.0 (compatible; Qwantbot/1.0_4211; +https://help.qwant.com/bot/)", "Qwantbot"),
    ("Mozilla/5.0 (compatible; PetalBot;+https://webmaster.petalsearch.com/site/petalbot)", "PetalBot"),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
        "GPTBot",
    ),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; ChatGPT-User/1.0; +https://openai.com/bot",
        "ChatGPT-User",
    ),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko); compatible; OAI-SearchBot/1.0; +https://openai.com/searchbot",
        "OAI-SearchBot",
    ),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; ClaudeBot/1.0; +claudebot@anthropic.com)",
        "ClaudeBot",
    ),
    (
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; PerplexityBot/1.0; +https://perplexity.ai/perplexitybot)",
        "PerplexityBot",
    ),
    ("Mozilla/5.0 (compatible; Bytespider; spider-feedback@bytedance.com)", "Bytespider"),
    ("CCBot/2.0 (https://commoncrawl.org/faq/)", "CCBot"),
    ("meta-externalagent/1.1 (+https://developers.facebook.com/docs/sharing/webmasters/crawler)", "meta-externalagent"),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_10_1) AppleWebKit/600.2.5 (KHTML, like Gecko) Version/8.0.2 Safari/600.2.5 (Amazonbot/0.1; +https://developer.amazon.com/support/amazonbot)",
        "Amazonbot",
    ),
    ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", "AhrefsBot"),
    ("Mozilla/5.0 (compatible; SemrushBot/7~bl; +http://www.semrush.com/bot.html)", "SemrushBot"),
    ("Mozilla/5.0 (compatible; MJ12bot/v1.4.8; http://mj12bot.com/)", "MJ12bot"),
    ("Mozilla/5.0 (compatible; DotBot/1.2; +https://opensiteexplorer.org/dotbot; help@moz.com)", "DotBot"),
    ("Screaming Frog SEO Spider/22.2", "Screaming Frog"),
    ("Mozilla/5.0 (compatible; XoviBot/2.0; +http://www.xovibot.net/)", "XoviBot"),
    ("Mozilla/5.0 (compatible; SISTRIX Crawler; http://crawler.sistrix.net/)", "SISTRIX"),
    ("facebookexternalhit/1.1 (+http://www.facebook.com/externalhit_uatext.php)", "facebookexternalhit"),
    ("Twitterbot/1.0", "Twitterbot"),
    ("LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)", "LinkedInBot"),
    ("WhatsApp/2.23.20.0 A", "WhatsApp"),
    ("TelegramBot (like TwitterBot)", "TelegramBot"),
    ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Slackbot"),
    ("Mozilla/5.0 (compatible; Discordbot/2.0; +https://discordapp.com)", "Discordbot"),
    ("Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", "SkypeUriPreview"),
    ("Pinterestbot/1.0 (+https://www.pinterest.com/bot.html)", "Pinterest"),
    ("Mozilla/5.0+(compatible; UptimeRobot/2.0; http://www.uptimerobot.com/)", "UptimeRobot"),
    ("Pingdom.com_bot_version_1.4_(http://www.pingdom.com/)", "Pingdom"),
    ("Mozilla/5.0 (compatible; StatusCake)", "StatusCake"),
    ("Better Uptime Bot Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36", "Better Uptime Bot"),
    ("check_http/v2.3.3 (monitoring-plugins 2.3.3)", "check_http"),
    ("kube-probe/1.31", "kube-probe"),
    ("ELB-HealthChecker/2.0", "ELB-HealthChecker"),
    ("W3C_Validator/1.3 http://validator.w3.org/services", "W3C_Validator"),
    (
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/141.0.0.0 Safari/537.36",
        "HeadlessChrome",
    ),
    (
        "Mozilla/5.0 (Linux; Android 11; moto g power (2022)) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/109.0.0.0 Mobile Safari/537.36 Chrome-Lighthouse",
        "Lighthouse",
    ),
    (
        "Mozilla/5.0 (Unknown; Linux x86_64) AppleWebKit/538.1 (KHTML, like Gecko) PhantomJS/2.1.1 Safari/538.1",
        "PhantomJS",
    ),
    ("curl/8.16.0", "curl"),
    ("Wget/1.21.3", "Wget"),
    ("python-requests/2.32.5", "python-requests"),
    ("Python/3.11 aiohttp/3.14.1", "aiohttp"),
    ("Python-urllib/3.12", "ython-urllib"),
    ("python-httpx/0.28.1", "httpx"),
    ("Go-http-client/2.0", "Go-http-client"),
    ("Java/21.0.4", "Java"),
    ("Java-http-client/21.0.4", "Java"),
    ("Apache-HttpClient/4.5.14 (Java/17.0.12)", "Apache-HttpClient"),
    ("okhttp/4.12.0", "okhttp"),
    ("axios/1.12.2", "axios"),
    ("node-fetch/1.0 (+https://github.com/bitinn/node-fetch)", "node-fetch"),
    ("node", "node"),
    ("undici", "undici"),
    ("libwww-perl/6.72", "libwww-perl"),
    ("Ruby", "Ruby"),
    ("Faraday v2.13.1", "Faraday"),
    ("GuzzleHttp/7", "GuzzleHttp"),
    ("PHP/8.3.6", "PHP"),
    ("WordPress/6.8.3; https://example.com", "WordPress"),
    ("Scrapy/2.13.3 (+https://scrapy.org)", "Scrapy"),
    ("PostmanRuntime/7.49.0", "PostmanRuntime"),
    ("insomnia/11.6.1", "insomnia"),
    ("Dalvik/2.1.0 (Linux; U; Android 14; Pixel 8 Build/AP2A.240805.005)", "Dalvik"),
    ("MobileSafari/8621.3.11.10.3 CFNetwork/3826.600.41 Darwin/24.6.0", "CFNetwork"),
    ("Dart/3.8 (dart:io)", "Dart"),
    ("reqwest/0.12.23", "reqwest"),
    (
        "Mozilla/5.0 (Windows NT; Windows NT 10.0; de-DE) WindowsPowerShell/5.1.26100.4768",
        "PowerShell",
    ),
    ("Microsoft Office Word 2014 (16.0.18925)", "Microsoft Office"),
    ("Mozilla/5.0 zgrab/0.x", "zgrab"),
    ("Mozilla/5.00 (Nikto/2.5.0) (Evasions:None) (Test:Port Check)", "Nikto"),
    ("sqlmap/1.9.9#stable (https://sqlmap.org)", "sqlmap"),
    ("Nuclei - Open-source project (github.com/projectdiscovery/nuclei)", "Nuclei"),
    ("Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)", "CensysInspect"),
    ("Barracuda Sentinel (EE)", "Barracuda"),
    ("Mimecast-URL-Protect/1.0", "Mimecast"),
    ("Mozilla/5.0", "bot"),
    ("Mozilla/4.0 (compatible;)", "bot"),
    ("SomeCompanyCrawler/0.1", "SomeCompanyCrawler"),
    ("acme-inventory-sync 3.2", "acme"),
]
