from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from ropo.schema import settings_of
from ropo.settings import SMALLEST, Settings, SettingsError, load, load_storage
from tests.support import manual

REPOSITORY = Path(__file__).resolve().parents[2]
SECRET = "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY"


def written(folder: Path, text: str) -> Path:
    config = folder / "config.yaml"
    config.write_text(text)
    return config


def problems(folder: Path, text: str, overrides: dict[str, str] | None = None, **environ: str) -> list[str]:
    with pytest.raises(SettingsError) as raised:
        load(written(folder, text), overrides, environ=environ)
    return raised.value.problems


def test_the_smallest_file_is_enough(tmp_path: Path):
    settings = load(written(tmp_path, SMALLEST))
    assert settings.proxy.upstream == "http://127.0.0.1:9000"
    assert settings.storage.path == str(tmp_path / "data")
    assert settings.dashboard.listen == "127.0.0.1:8081"
    assert settings.export.sinks == []


def test_the_shipped_file_is_good_and_needs_nothing_from_outside():
    settings = load(REPOSITORY / "config.yaml", environ={})
    assert settings.proxy.upstream == "demo"
    assert [type(sink).__struct_config__.tag for sink in settings.export.sinks] == ["csv", "jsonl", "webhook"]
    assert all(listen.startswith("127.0.0.1:") for listen in (settings.proxy.listen, settings.dashboard.listen))


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    config = written(
        tmp_path,
        "proxy: {upstream: demo}\nstorage: {path: ../var, hot_path: hot.duckdb}\nexport:\n  sinks:\n"
        "  - {type: csv, name: a, folder: ./out}\n  - {type: jsonl, name: b, folder: /srv/erp/in}\n"
        "  - {type: webhook, name: c, url: 'https://erp.example/x', ca_file: ca.pem}\n",
    )
    monkeypatch.chdir(elsewhere)
    settings = load(Path(os.path.relpath(config)))
    assert settings.storage.path == str(tmp_path.parent / "var")
    assert settings.storage.hot_path == str(tmp_path / "hot.duckdb")
    csv, jsonl, webhook = settings.export.sinks
    assert (csv.folder, jsonl.folder, webhook.ca_file) == (
        str(tmp_path / "out"),
        "/srv/erp/in",
        str(tmp_path / "ca.pem"),
    )


def test_the_files_of_the_proxy_start_there_too_and_sockets_at_the_root(tmp_path: Path):
    config = written(
        tmp_path,
        "proxy:\n  upstream: [unix:/run/a.sock]\n  upstream_ca_file: tls/ca.pem\n"
        "  tls: {certificates: [{certificate: tls/site.pem, key: /etc/site.key}]}\nstorage: {path: data}",
    )
    proxy = load(config).proxy
    assert proxy.upstream == ["unix:/run/a.sock"]
    assert proxy.upstream_ca_file == str(tmp_path / "tls/ca.pem")
    pair = proxy.tls.certificates[0]
    assert (pair.certificate, pair.key) == (str(tmp_path / "tls/site.pem"), "/etc/site.key")
    assert load(written(tmp_path, SMALLEST)).proxy.tls is None


def test_hosts_of_sites_are_kept_as_requests_have_them(tmp_path: Path):
    text = "proxy: {upstream: demo, sites: [{hosts: [Müller.example, '*.Example.COM.'], upstream: 'http://a'}]}\n"
    sites = load(written(tmp_path, text + "storage: {path: data}")).proxy.sites
    assert sites[0].hosts == ["xn--mller-kva.example", "*.example.com"]


def test_the_home_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/ropo")
    assert load(written(tmp_path, "proxy: {upstream: demo}\nstorage: {path: ~/data}")).storage.path == "/home/ropo/data"


def test_references_are_followed(tmp_path: Path):
    (tmp_path / "secret").write_text(SECRET + "\n")
    text = (
        "proxy: {upstream: 'http://${SITE}', workers: '${WORKERS}'}\nstorage: {path: '${DATA}/log'}\nexport:\n  sinks:\n"
        "  - {type: webhook, name: a, url: 'https://erp.example/', secret: '${HOOK}'}\n"
        "  - {type: webhook, name: b, url: 'https://crm.example/', secret: 'file:secret'}\n"
    )
    environ = {"SITE": "site:81", "WORKERS": "3", "DATA": "/var", "HOOK": SECRET}
    settings = load(written(tmp_path, text), environ=environ)
    assert (settings.proxy.upstream, settings.proxy.workers, settings.storage.path) == ("http://site:81", 3, "/var/log")
    assert [sink.secret for sink in settings.export.sinks] == [SECRET, SECRET]


def test_the_command_line_wins_over_the_file(tmp_path: Path):
    settings = load(written(tmp_path, SMALLEST), {"proxy.upstream": "http://other", "storage.path": "/other"})
    assert (settings.proxy.upstream, settings.storage.path) == ("http://other", "/other")
    assert settings.proxy.listen == "127.0.0.1:8080"


def test_the_command_line_can_give_what_the_file_leaves_out(tmp_path: Path):
    assert load(written(tmp_path, "storage: {path: data}"), {"proxy.upstream": "demo"}).proxy.upstream == "demo"


def test_what_is_wrong_on_the_command_line_is_not_blamed_on_the_file(tmp_path: Path):
    found = problems(tmp_path, SMALLEST, {"proxy.upstream": "localhost:3000"})
    assert found == [
        'command line: proxy.upstream: "localhost:3000" has no scheme; write http://localhost:3000 or '
        "https://localhost:3000; `demo` is the built-in site"
    ]


def test_all_problems_of_all_rooms_come_at_once_each_with_file_and_key(tmp_path: Path):
    text = """
    proxy: {listen: "8080", upstrem: x, workers: 0, trusted: [10.0.0.1/8]}
    tracker:
      cookie: {max_age_days: 500, secrets: [hunter2hunter2hunter2]}
      forms: {rules: [{name: a, path: /a}, {name: a, path: /b}]}
    storage: {sync: sometimes}
    export:
      sinks:
        - {type: sftp}
        - {type: webhook, name: erp, url: localhost/x, secret: "${NOPE}"}
    dashboard: {listen: "::1:80"}
    nonsense: 1
    """
    found = problems(tmp_path, text)
    keys = [line.removeprefix(f"{tmp_path}/config.yaml: ").split(": ")[0] for line in found]
    assert sorted(keys) == sorted(
        [
            "proxy.listen", "proxy.upstrem", "proxy.upstream", "proxy.workers", "proxy.trusted",
            "tracker.cookie.max_age_days", "tracker.cookie.secrets[0]", "tracker.forms.rules",
            "storage.sync", "storage.path", "export.sinks[0].type", "export.sinks[1].url", "export.sinks[1].secret",
            "dashboard.listen", "nonsense",
        ]
    )  # fmt: skip
    assert "hunter2" not in "\n".join(found)


def proxy(section: str) -> str:
    return f"proxy: {{{section}}}\nstorage: {{path: d}}"


TLS = "tls: {certificates: [{certificate: a.pem, key: a.key}]}"

BETWEEN = {
    "one port for both": (
        "proxy: {listen: '127.0.0.1:80', upstream: demo}\nstorage: {path: d}\ndashboard: {listen: '127.0.0.1:80'}",
        "dashboard.listen: 127.0.0.1:80 is proxy.listen too",
    ),
    "the default port of the other": (
        "proxy: {listen: '127.0.0.1:8081', upstream: demo}\nstorage: {path: d}",
        "dashboard.listen: 127.0.0.1:8081 is proxy.listen too",
    ),
    "before itself": (
        "proxy: {listen: '127.0.0.1:80', upstream: 'http://127.0.0.1'}\nstorage: {path: d}",
        "would ask itself for ever",
    ),
    "before itself on any address": (
        proxy("listen: '0.0.0.0:8080', upstream: 'http://localhost:8080'"),
        'proxy.upstream: "http://localhost:8080" is proxy.listen as it is reached from here: ropo would ask itself',
    ),
    "a site before ropo's https": (
        proxy(f"upstream: demo, {TLS}, sites: [{{hosts: [a.test], upstream: [unix:/a, 'https://127.0.0.1:8443']}}]"),
        'proxy.sites[0].upstream: "https://127.0.0.1:8443" is proxy.tls.listen itself',
    ),
    "http and https on one port": (
        proxy(f"upstream: demo, listen: '127.0.0.1:8443', {TLS}"),
        "proxy.tls.listen: 127.0.0.1:8443 is proxy.listen too; https needs a port of its own",
    ),
    "https on a port that all addresses have": (
        proxy(f"upstream: demo, listen: '0.0.0.0:8443', {TLS}"),
        "proxy.tls.listen: 127.0.0.1:8443 is within proxy.listen, 0.0.0.0:8443; https needs",
    ),
    "https and the dashboard on one port": (
        proxy(f"upstream: demo, {TLS}") + "\ndashboard: {listen: '127.0.0.1:8443'}",
        "dashboard.listen: 127.0.0.1:8443 is proxy.tls.listen too; give the dashboard another port",
    ),
    "https nowhere": (
        proxy(f"upstream: demo, {TLS.replace('{', '{listen: 8443, ', 1)}"),
        "proxy.tls.listen: must be text, not 8443",
    ),
    "https on a number": (
        proxy(f"upstream: demo, {TLS.replace('{', '{listen: ' + repr('8443') + ', ', 1)}"),
        'proxy.tls.listen: "8443" is no address to listen on: the host is missing; write 127.0.0.1:8443',
    ),
    "the built-in site among others": (
        proxy("upstream: [demo, 'http://a']"),
        "proxy.upstream: `demo` is the built-in site, and stands alone",
    ),
    "the built-in site for some hosts": (
        proxy("upstream: demo, sites: [{hosts: [a.test], upstream: demo}]"),
        "proxy.sites[0].upstream: `demo` is the built-in site, and stands as proxy.upstream alone",
    ),
    "no servers": (proxy("upstream: []"), "proxy.upstream: the list is empty"),
    "a server twice": (proxy("upstream: ['http://a', 'http://a']"), 'proxy.upstream: "http://a" stands there twice'),
    "http and https in one site": (proxy("upstream: ['http://a', 'https://b']"), "write http or https for all of them"),
    "a host with a port": (
        proxy("upstream: demo, sites: [{hosts: ['a.test:80'], upstream: 'http://a'}]"),
        'proxy.sites[0].hosts: "a.test:80" has a port',
    ),
    "a host of two sites": (
        proxy(
            "upstream: demo, sites: [{hosts: [a.test], upstream: 'http://a'}, {hosts: [A.test], upstream: 'http://b'}]"
        ),
        'proxy.sites[1].hosts: "A.test" stands in proxy.sites[0].hosts too; a host belongs to one site',
    ),
    "a host twice": (
        proxy("upstream: demo, sites: [{hosts: [a.test, a.test.], upstream: 'http://a'}]"),
        'proxy.sites[0].hosts: "a.test." stands there twice',
    ),
    "no hosts": (
        proxy("upstream: demo, sites: [{hosts: [], upstream: 'http://a'}]"),
        "proxy.sites[0].hosts: has 0 items",
    ),
    "PROXY headers from nobody": (
        proxy("upstream: demo, proxy_protocol: true"),
        "proxy.proxy_protocol: true without proxy.trusted",
    ),
    "a path with a space": (
        proxy("upstream: demo, health: {path: '/a b'}"),
        'proxy.health.path: "/a b" is no path of a request',
    ),
    "no path": (proxy("upstream: demo, health: {path: health}"), 'proxy.health.path: "health" does not have the'),
    "a head smaller than its first line": (
        proxy("upstream: demo, max_head_bytes: 4096"),
        "proxy.max_head_bytes: 4096 is less than proxy.max_target_bytes, which is 8190",
    ),
    "a field larger than a head": (
        proxy("upstream: demo, max_field_bytes: 100000"),
        "proxy.max_head_bytes: 65536 is less than proxy.max_field_bytes, which is 100000",
    ),
    "two sinks of a name": (
        "proxy: {upstream: demo}\nstorage: {path: d}\nexport:\n  sinks:\n  - {type: csv, name: a, folder: x}\n"
        "  - {type: jsonl, name: a, folder: y}",
        "export.sinks: two of them are named 'a'",
    ),
    "no section at all": ("just text", "must be a section"),
    "a list": ("- proxy", "must be a section"),
    "nothing": ("", "proxy.upstream: is missing"),
    "sections with nothing in them": ("proxy:\nstorage:\n", "storage.path: is missing"),
}


@pytest.mark.parametrize("text, words", BETWEEN.values(), ids=BETWEEN)
def test_settings_that_do_not_go_together_are_told(tmp_path: Path, text: str, words: str):
    assert words in "\n".join(problems(tmp_path, text))


def test_a_key_instead_of_its_file_is_told_and_not_shown(tmp_path: Path):
    (tmp_path / "site.key").write_text("-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----\n")
    found = problems(
        tmp_path,
        "proxy: {upstream: demo, tls: {certificates: [{certificate: site.pem, key: 'file:site.key'}]}}\n"
        "storage: {path: d}",
    )
    assert len(found) == 1 and "proxy.tls.certificates[0].key: holds more than the path of a file" in found[0]
    assert "hunter2" not in found[0]


@pytest.mark.parametrize(
    "section, only",
    [
        ("tls: {certificates: [{certificate: a.pem}]}", "proxy.tls.certificates[0].key: is missing"),
        ("tls: {certificates: [a.pem]}", "proxy.tls.certificates[0]: must be a section"),
        ("tls: {certificates: []}", "proxy.tls.certificates: has 0 items"),
        ("tls: {listen: '127.0.0.1:1'}", "proxy.tls.certificates: is missing"),
        ("sites: [{hosts: [5], upstream: 'http://a'}]", "proxy.sites[0].hosts[0]: must be text"),
        ("sites: [{upstream: 'http://a'}]", "proxy.sites[0].hosts: is missing"),
        ("sites: [{hosts: [a.test]}]", "proxy.sites[0].upstream: is missing"),
        ("sites: [a.test]", "proxy.sites[0]: must be a section"),
        ("health: {}", "proxy.health.path: is missing"),
    ],
)
def test_one_fault_of_the_proxy_is_one_problem(tmp_path: Path, section: str, only: str):
    found = problems(tmp_path, proxy(f"upstream: demo, {section}"))
    assert len(found) == 1 and only in found[0]


def test_any_free_port_twice_is_not_one_port(tmp_path: Path):
    text = "proxy: {listen: '127.0.0.1:0', upstream: demo}\nstorage: {path: d}\ndashboard: {listen: '127.0.0.1:0'}"
    assert load(written(tmp_path, text)).dashboard.listen == "127.0.0.1:0"


def test_a_missing_file_comes_with_the_smallest_one(tmp_path: Path):
    with pytest.raises(SettingsError) as raised:
        load(tmp_path / "nope.yaml")
    said = str(raised.value)
    assert f"{tmp_path}/nope.yaml: there is no such file" in said
    config = written(tmp_path, "\n".join(line.removeprefix("    ") for line in said.splitlines()[1:]))
    assert load(config).proxy.listen == "127.0.0.1:8080"


def test_what_cannot_be_read_is_told(tmp_path: Path):
    with pytest.raises(SettingsError, match="cannot be read"):
        load(tmp_path)
    (tmp_path / "config.yaml").write_bytes(b"proxy: \xff")
    with pytest.raises(SettingsError, match="not UTF-8 text at byte 7"):
        load(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_bytes(b"#" * 2_000_000)
    with pytest.raises(SettingsError, match="is this the right file"):
        load(tmp_path / "config.yaml")


def test_yaml_that_is_none_is_told_with_its_line(tmp_path: Path):
    assert problems(tmp_path, "proxy:\n  listen: [\n")[0].startswith(f"{tmp_path}/config.yaml: line ")


def test_a_byte_order_mark_does_no_harm(tmp_path: Path):
    (tmp_path / "config.yaml").write_bytes(b"\xef\xbb\xbf" + SMALLEST.encode())
    assert load(tmp_path / "config.yaml").proxy.listen == "127.0.0.1:8080"


def test_who_reads_the_log_needs_only_to_know_where_it_is(tmp_path: Path):
    text = "proxy: {nonsense: 1}\nstorage: {path: data, node: n1}\nexport: {sinks: [{secret: '${NOT_SET_HERE}'}]}"
    storage = load_storage(written(tmp_path, text), environ={})
    assert (storage.path, storage.node) == (str(tmp_path / "data"), "n1")
    assert load_storage(tmp_path / "config.yaml", {"storage.path": "/other"}).path == "/other"
    with pytest.raises(SettingsError, match="storage.pth: unknown key"):
        load_storage(written(tmp_path, "storage: {pth: data}"))
    with pytest.raises(SettingsError, match="storage.path: is missing"):
        load_storage(written(tmp_path, "proxy: {}"))


def test_settings_survive_the_way_to_a_child_process(tmp_path: Path):
    settings = load(REPOSITORY / "config.yaml", environ={})
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Settings) == settings


def test_every_setting_says_what_it_means():
    assert [setting.key for setting in settings_of(Settings) if not setting.meaning] == []


def test_the_manual_has_every_setting_as_it_is():
    """A row that is missing or out of date is in the message, to paste: `python -m tests.support.manual` has them all."""
    wanted, written_rows = manual.rows_wanted(), manual.rows_written()
    assert [row for key, row in wanted.items() if written_rows.get(key) != row] == []
    assert sorted(set(written_rows) - set(wanted)) == []
