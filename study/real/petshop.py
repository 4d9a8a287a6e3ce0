"""Turns the PetShop data set into canary cases: `python petshop.py CHECKOUT > petshop.json`.

CHECKOUT is a clone of amazon-science/petshop-root-cause-analysis (data: CC-BY-4.0). Each incident's `metrics.csv` has rows of five
minutes, some from before the fault; of these we keep what users saw, which is the service PetSite: the two rows that ended before
the fault was seen (`target.json` has the time), and the two after that, since faults last ten minutes or more. Of `noissue` all
rows are kept. The fixture beside this file has seven incidents and twenty minutes without one, copied from the rows themselves;
any number of folders can be named after the checkout.
"""

import csv
import json
import pathlib
import sys

SERVICE = "PetSite"
FIELDS = {("latency", "p50"): "p50", ("latency", "p90"): "p90", ("latency", "p95"): "p95", ("latency", "p99"): "p99",
          ("requests", "Sum"): "requests", ("availability", "Average"): "availability"}


def rows(path):
    with open(path, newline="") as file:
        services, metrics, statistics, _, *lines = csv.reader(file)
    columns = {FIELDS[tuple(key)]: index for index, (service, *key) in enumerate(zip(services, metrics, statistics))
               if service == SERVICE and tuple(key) in FIELDS}
    for line in lines:
        found = {name: line[index] for name, index in columns.items()}
        if all(found.values()):
            yield int(float(line[0])), {name: float(value) for name, value in found.items()}


def incident(folder):
    target = folder / "target.json"
    about = json.loads(target.read_text()) if target.exists() else None
    began = about["target"]["timestamp"] if about else float("inf")
    kept = {True: [], False: []}
    for at, row in rows(folder / "metrics.csv"):
        requests = round(row["requests"])
        kept[at < began].append({"at": at, "normal": at < began,
                                 **{name: round(row[name], 6) for name in ("p50", "p90", "p95", "p99")},
                                 "requests": requests, "errors": round(requests * (100 - row["availability"]) / 100)})
    before = kept[True][-2:] if about else kept[True]
    command = about["metadata"]["reproducibility"]["command"] if about else "none"
    return {"name": "/".join(folder.parts[-3:]), "fault": command, "metric": about["target"]["metric"] if about else "none",
            "rows": before + kept[False][:2]}


def main(checkout, *names):
    dataset = pathlib.Path(checkout) / "dataset"
    folders = [dataset / name for name in names] or sorted(path.parent for path in dataset.glob("*/*/*/metrics.csv"))
    json.dump({"source": "PetShop, amazon-science/petshop-root-cause-analysis, CC-BY-4.0; the service PetSite in rows of five minutes",
               "incidents": [incident(folder) for folder in folders]}, sys.stdout, indent=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
