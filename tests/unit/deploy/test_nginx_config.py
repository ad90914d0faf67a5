import pytest

from deploy.nginx.config import render


@pytest.fixture
def source(tmp_path):
    (tmp_path / "nginx" / "conf.d").mkdir(parents=True)
    (tmp_path / "nginx" / "nginx.conf").write_text("include conf.d/*.conf;\n")
    (tmp_path / "nginx" / "conf.d" / "site.conf").write_text('root "${CLIPSTACK_X}"; set $a ${other};\n')
    return tmp_path / "nginx"


def test_only_our_names_are_filled_in(source, tmp_path):
    render(source, tmp_path / "out", {"CLIPSTACK_X": "/with a space"})

    assert (tmp_path / "out/conf.d/site.conf").read_text() == 'root "/with a space"; set $a ${other};\n'
    assert (tmp_path / "out/nginx.conf").exists()


def test_files_of_an_earlier_start_are_removed(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.conf").touch()

    render(source, tmp_path / "out", {"CLIPSTACK_X": "x"})

    assert not (tmp_path / "out" / "old.conf").exists()


@pytest.mark.parametrize("value", ['a"b', "a;b", "a{b", "a$b", "a\nb"])
def test_nginx_syntax_in_settings_is_refused(source, tmp_path, value):
    with pytest.raises(ValueError, match="nginx cannot use"):
        render(source, tmp_path / "out", {"CLIPSTACK_X": value})


def test_a_name_without_a_value_is_an_error(source, tmp_path):
    with pytest.raises(KeyError, match="CLIPSTACK_X"):
        render(source, tmp_path / "out", {})
