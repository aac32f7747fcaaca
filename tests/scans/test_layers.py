"""One inventory from layers: what shadows what, and who brought it."""

from __future__ import annotations

from secguard.scans.inspection.files import LayerFile
from secguard.scans.layers import Layer, LayerPackage, Role, merge
from secguard.scans.report import ReportedComponent

STATUS = "var/lib/dpkg/status"


def _deb(name: str, version: str, path: str = STATUS, **more: object) -> LayerPackage:
    purl = f"pkg:deb/debian/{name}@{version}"
    return LayerPackage(purl, name, version, path, Role.DISTRIBUTION, **more)  # type: ignore[arg-type]


def _pypi(name: str, version: str) -> LayerPackage:
    return LayerPackage(f"pkg:pypi/{name}@{version}", name, version, f"site/{name}-{version}.dist-info/METADATA")


def _binary(path: str, version: str = "5.2", group: str = "") -> LayerPackage:
    name = path.rpartition("/")[2]
    return LayerPackage(f"pkg:generic/{name}@{version}", name, version, path, Role.BINARY, group=group or path)


def _layer(number: int, *packages: LayerPackage, files: tuple[str, ...] = (), **odd: str) -> Layer:
    """A layer with the files that tell of ``packages``, and ``files``; ``odd``: kind by path."""
    paths = dict.fromkeys([*(p.path for p in packages), *files], "file") | odd
    return Layer(f"sha256:{number}", packages, [LayerFile(path, kind) for path, kind in paths.items()])


def _merged(*layers: Layer) -> dict[str, ReportedComponent]:
    return {c.purl.removeprefix("pkg:"): c for c in merge(layers)}


class TestWhatIsThere:
    def test_the_topmost_database_says_everything(self) -> None:
        found = _merged(
            _layer(0, _deb("a", "1"), _deb("b", "1"), _deb("c", "1")),
            _layer(1, _deb("a", "1"), _deb("b", "2")),
        )
        assert sorted(found) == ["deb/debian/a@1", "deb/debian/b@2"]

    def test_a_database_emptied_is_an_image_without_packages(self) -> None:
        assert not _merged(_layer(0, _deb("a", "1")), _layer(1, files=(STATUS,)))

    def test_a_file_for_each_package_stands_alone(self) -> None:
        base = _deb("base-files", "12", "var/lib/dpkg/status.d/base")
        ssl = _deb("libssl3", "3.0", "var/lib/dpkg/status.d/libssl3")
        newer = _deb("libssl3", "3.1", "var/lib/dpkg/status.d/libssl3")
        found = _merged(_layer(0, base), _layer(1, ssl), _layer(2, newer))
        assert sorted(found) == ["deb/debian/base-files@12", "deb/debian/libssl3@3.1"]

    def test_whiteouts_take_files_and_folders_away(self) -> None:
        found = _merged(
            _layer(0, _pypi("six", "1"), _pypi("flask", "1"), _pypi("jinja2", "1")),
            _layer(1, files=("site/.wh.six-1.dist-info", "site/flask-1.dist-info/.wh.METADATA")),
        )
        assert sorted(found) == ["pypi/jinja2@1"]

    def test_an_opaque_folder_hides_what_lower_layers_have_and_not_its_own(self) -> None:
        found = _merged(
            _layer(0, _pypi("six", "1")),
            _layer(1, _pypi("flask", "2"), files=("site/.wh..wh..opq",)),
        )
        assert sorted(found) == ["pypi/flask@2"]

    def test_an_opaque_root_hides_everything(self) -> None:
        assert not _merged(_layer(0, _pypi("six", "1"), _deb("a", "1")), _layer(1, files=(".wh..wh..opq",)))

    def test_a_file_or_link_where_a_folder_was_hides_what_lay_in_it(self) -> None:
        lower = _layer(0, _pypi("six", "1"))
        assert not _merged(lower, _layer(1, files=("site",)))
        assert not _merged(lower, _layer(1, site="link"))

    def test_a_folder_written_again_hides_nothing(self) -> None:
        assert _merged(_layer(0, _pypi("six", "1")), _layer(1, site="directory"))

    def test_a_folder_that_tells_of_a_package_stays_when_it_is_written_again(self) -> None:
        nix = LayerPackage("pkg:nix/glibc@2", "glibc", "2", "nix/store/x-glibc-2", Role.DISTRIBUTION)
        again = Layer("sha256:1", [], [LayerFile("nix/store/x-glibc-2", "directory")])
        assert _merged(Layer("sha256:0", [nix], [LayerFile(nix.path, "directory")]), again)

    def test_what_was_deleted_and_brought_back_is_there(self) -> None:
        gone = _layer(1, files=("site/.wh.six-1.dist-info",))
        found = _merged(_layer(0, _pypi("six", "1")), gone, _layer(2, _pypi("six", "1")))
        assert found["pypi/six@1"].layer == "sha256:2"

    def test_two_files_that_tell_of_one_package_are_one_component(self) -> None:
        here, there = (LayerPackage("pkg:npm/x@1", "x", "1", f"{place}/package.json") for place in ("b", "a"))
        found = _merged(_layer(0, here), _layer(1, there))
        assert found["npm/x@1"].paths == ("a/package.json", "b/package.json")
        assert found["npm/x@1"].layer == "sha256:0"


class TestWhoBroughtIt:
    def test_a_package_unchanged_in_a_later_database_came_with_the_first(self) -> None:
        found = _merged(
            _layer(0, _deb("a", "1")),
            _layer(1, _deb("a", "1"), _deb("b", "1")),
            _layer(2, _deb("a", "2"), _deb("b", "1")),
        )
        assert {purl: c.layer for purl, c in found.items()} == {
            "deb/debian/a@2": "sha256:2",
            "deb/debian/b@1": "sha256:1",
        }

    def test_layers_that_do_not_touch_the_database_break_nothing(self) -> None:
        found = _merged(_layer(0, _deb("a", "1")), _layer(1, files=("app/x",)), _layer(2, _deb("a", "1")))
        assert found["deb/debian/a@1"].layer == "sha256:0"

    def test_a_package_removed_and_installed_again_came_with_the_last(self) -> None:
        found = _merged(_layer(0, _deb("a", "1")), _layer(1, _deb("b", "1")), _layer(2, _deb("a", "1")))
        assert found["deb/debian/a@1"].layer == "sha256:2"

    def test_licences_come_from_the_layer_that_has_their_texts(self) -> None:
        found = _merged(_layer(0, _deb("a", "1", licenses=("MIT",))), _layer(1, _deb("a", "1")))
        assert found["deb/debian/a@1"].licenses == ("MIT",)


class TestGuessesFromBytes:
    def test_a_program_that_a_package_owns_is_no_component_of_its_own(self) -> None:
        lower = _layer(0, _deb("bash", "5", owns=("bin/bash", "usr/bin/perl")))
        upper = _layer(1, _binary("usr/bin/bash"), _binary("usr/bin/perl"), _binary("usr/local/bin/node"))
        assert sorted(_merged(lower, upper)) == ["deb/debian/bash@5", "generic/node@5.2"]

    def test_what_a_package_owned_that_is_gone_counts_again(self) -> None:
        lower = _layer(0, _deb("bash", "5", owns=("usr/bin/bash",)))
        found = _merged(lower, _layer(1, _deb("a", "1")), _layer(2, _binary("usr/bin/bash")))
        assert sorted(found) == ["deb/debian/a@1", "generic/bash@5.2"]

    def test_one_guess_over_several_files_goes_where_a_package_owns_any(self) -> None:
        owner = _deb("systemd", "252", owns=("usr/lib/libudev.so.1",))
        guesses = [_binary(f"usr/lib/{name}", group="note") for name in ("libudev.so.1", "libsystemd.so.0")]
        assert sorted(_merged(_layer(0, owner, *guesses))) == ["deb/debian/systemd@252"]

    def test_a_java_installation_is_better_than_a_guess_and_yields_to_a_package(self) -> None:
        java = LayerPackage(
            "pkg:generic/openjdk@21", "openjdk", "21", "opt/java/release", Role.JAVA, (), ("opt/java/bin/java",), "jvm"
        )
        guess = _binary("opt/java/bin/java", "21")
        assert sorted(_merged(_layer(0, java), _layer(1, guess))) == ["generic/openjdk@21"]
        owner = _deb("jdk", "21", owns=("opt/java/release",))
        assert sorted(_merged(_layer(0, java), _layer(1, owner))) == ["deb/debian/jdk@21"]


def test_no_layers_and_empty_layers() -> None:
    assert merge([]) == []
    assert merge([_layer(0), _layer(1, files=("etc/motd",))]) == []
