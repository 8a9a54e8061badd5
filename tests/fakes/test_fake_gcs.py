"""The fake GCS behaves as gcsfs needs it: writes once, ranges, long uploads, listings, faults."""

import json
import os

import fsspec
import pytest

from tests.fakes.gcs import FakeGcs, Fault

os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")


@pytest.fixture(scope="module")
def server():
    with FakeGcs() as gcs:
        yield gcs


@pytest.fixture
def gcs(server):
    server.faults.clear()
    server.requests.clear()
    server.buckets.clear()
    server.buckets["lake"] = {}
    return server


@pytest.fixture
def files(gcs):
    return fsspec.filesystem(
        "gs",
        endpoint_url=gcs.url,
        token="anon",
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def test_what_is_written_is_read_whole_and_in_ranges(gcs, files):
    files.pipe_file("lake/a/b.bin", b"0123456789")
    assert gcs.buckets["lake"]["a/b.bin"].content == b"0123456789"
    assert files.cat_file("lake/a/b.bin") == b"0123456789"
    assert files.cat_file("lake/a/b.bin", start=2, end=5) == b"234"
    assert files.cat_file("lake/a/b.bin", start=7) == b"789"
    assert files.info("lake/a/b.bin")["size"] == 10
    assert not files.exists("lake/a/c.bin")
    with pytest.raises(FileNotFoundError):
        files.cat_file("lake/a/c.bin")


def test_an_object_is_created_only_once(files):
    files.pipe_file("lake/once", b"first", mode="create")
    with pytest.raises(FileExistsError):
        files.pipe_file("lake/once", b"second", mode="create")
    assert files.cat_file("lake/once") == b"first"


def test_a_long_upload_arrives_in_parts(gcs, files):
    content = os.urandom(700_000)
    with files.open("lake/long", "wb", block_size=2**18) as file:
        file.write(content)
    assert gcs.buckets["lake"]["long"].content == content
    assert gcs.count(".*upload_id") >= 2


def test_listings_know_folders(files):
    for name in ("x/1", "x/2", "x/y/3", "z"):
        files.pipe_file(f"lake/{name}", b"")
    assert sorted(files.ls("lake/x")) == ["lake/x/1", "lake/x/2", "lake/x/y"]
    assert sorted(files.find("lake")) == ["lake/x/1", "lake/x/2", "lake/x/y/3", "lake/z"]
    files.cp_file("lake/z", "lake/copy")
    assert files.exists("lake/copy")
    files.rm_file("lake/z")
    assert not files.exists("lake/z")


def test_faults_meet_the_requests_they_match(gcs, files):
    gcs.faults.append(Fault("(GET|POST|PUT) .*unlucky", status=503, times=1))
    files.pipe_file("lake/unlucky", b"after all")
    assert files.cat_file("lake/unlucky") == b"after all"
    gcs.faults[:] = [Fault(r"POST .*upload", drop=True, after=True, times=1)]
    with pytest.raises(FileExistsError):  # it was written, only the answer was lost
        files.pipe_file("lake/lost", b"answer", mode="create")
    assert gcs.buckets["lake"]["lost"].content == b"answer"
    gcs.faults[:] = [Fault("never", chance=0.0, status=500)]
    assert files.cat_file("lake/lost") == b"answer"


def test_a_long_listing_comes_in_pages(gcs, files):
    for number in range(5):
        gcs.put("lake", f"p/{number}", b"")
    first = gcs.url + "/storage/v1/b/lake/o?prefix=p/&maxResults=2"
    with fsspec.open(first) as page:
        told = json.loads(page.read())
    assert [item["name"] for item in told["items"]] == ["p/0", "p/1"]
    with fsspec.open(f"{first}&pageToken={told['nextPageToken']}") as page:
        assert [i["name"] for i in json.loads(page.read())["items"]] == ["p/2", "p/3"]
