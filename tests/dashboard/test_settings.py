import msgspec
import pytest

from dashboard.settings import DashboardSettings, address


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
    for field in msgspec.json.schema(DashboardSettings)["$defs"]["DashboardSettings"]["properties"].values():
        assert field["description"].endswith(".")


def test_an_unknown_key_is_refused():
    with pytest.raises(msgspec.ValidationError, match="lisen"):
        msgspec.convert({"lisen": "127.0.0.1:1"}, DashboardSettings)
