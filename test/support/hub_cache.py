"""What huggingface_hub says of a cache, as JSON: `hub_cache.py CACHE NAME FILE...`, or `download` before these to download."""

import json
import sys

from huggingface_hub import (
    _CACHED_NO_EXIST,
    hf_hub_download,
    scan_cache_dir,
    snapshot_download,
    try_to_load_from_cache,
)

download = sys.argv[1] == "download"
cache, name, *files = sys.argv[2:] if download else sys.argv[1:]
if download:
    print(json.dumps([hf_hub_download(name, file, cache_dir=cache) for file in files]))
    sys.exit()

report = scan_cache_dir(cache)
print(
    json.dumps(
        {
            "files": {f: hf_hub_download(name, f, cache_dir=cache, local_files_only=True) for f in files},
            "snapshot": snapshot_download(name, cache_dir=cache, local_files_only=True),
            "knowsAbsence": try_to_load_from_cache(name, "added_tokens.json", cache_dir=cache) is _CACHED_NO_EXIST,
            "repositories": [repository.repo_id for repository in report.repos],
            "size": report.size_on_disk,
            "warnings": [str(warning) for warning in report.warnings],
        }
    )
)
