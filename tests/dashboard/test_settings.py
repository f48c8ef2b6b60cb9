import msgspec
import pytest

from dashboard.settings import DashboardSettings, SqlSettings, address


def test_the_dashboard_listens_on_loopback_unless_told_otherwise():
    assert address(DashboardSettings().listen) == ("127.0.0.1", 8081)


@pytest.mark.parametrize(
    ("listen", "expected"),
    [
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:8081", ("::1", 8081)),
        ("dash.example:65535", ("dash.example", 65_535)),
    ],
)
def test_an_address_is_host_and_port(listen, expected):
    assert address(listen) == expected


@pytest.mark.parametrize(
    "listen", ["", "8081", ":8081", "127.0.0.1", "127.0.0.1:", "::1:8081", "h:65536", "h:-1", "h:８０"]
)
def test_what_is_no_address_is_refused_with_an_example(listen):
    with pytest.raises(msgspec.ValidationError, match=r"8081"):
        msgspec.convert({"listen": listen}, DashboardSettings)


def test_every_field_has_a_line_for_the_manual():
    described = msgspec.json.schema(DashboardSettings)["$defs"]
    for struct in ("DashboardSettings", "SqlSettings"):
        for field in described[struct]["properties"].values():
            assert field["description"].endswith(".")


def test_sql_over_http_is_off_and_on_loopback_where_it_is_on():
    assert DashboardSettings().sql is None
    assert msgspec.convert({"sql": {}}, DashboardSettings).sql.is_local


@pytest.mark.parametrize(
    ("listen", "is_local"),
    [("127.0.0.1:8083", True), ("127.8.9.1:1", True), ("[::1]:8083", True), ("localhost:8083", True),
     ("0.0.0.0:8083", False), ("[::]:8083", False), ("10.0.0.5:8083", False), ("sql.example:8083", False),
     ("localhost.example:8083", False)],
)  # fmt: skip
def test_what_others_can_reach_needs_a_token(listen, is_local):
    assert SqlSettings(listen=listen, token="t" * 16).is_local == is_local
    if is_local:
        assert SqlSettings(listen=listen).is_local
    else:
        with pytest.raises(ValueError, match="listen: .*dashboard.sql.token"):
            SqlSettings(listen=listen)


@pytest.mark.parametrize("token", ["short-one-123456"[:15], "has a\nnewline in it", "ümlauts-are-no-header"])
def test_a_token_that_can_be_guessed_or_not_sent_is_refused_and_not_shown(token):
    with pytest.raises(ValueError, match="token: ") as caught:
        SqlSettings(token=token)
    assert token not in str(caught.value)


def test_an_unknown_key_is_refused():
    with pytest.raises(msgspec.ValidationError, match="lisen"):
        msgspec.convert({"lisen": "127.0.0.1:1"}, DashboardSettings)
