"""All benchmarks, one after the other: `python benchmarks --out results`.

Takes one to two hours on two cores that do nothing else. Each can be run alone, too.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", help="folder of MNIST, as for mnist-lab")
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder (results)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    data = ["--data", options.data] if options.data else []

    def to(name: str) -> list[str]:
        return ["--json", str(options.out / f"{name}.json")]

    runs = {
        "lab": [*data, *to("lab")],
        "accuracy": [*data, *to("accuracy")],
        "augmentation": [*data, *to("augmentation")],
        "feedback": to("feedback"),
        "growth": [*data, "--out", str(options.out)],
        "batch": ["--count", "200", "--sample", "20"],
        "diagnosis": ["--jobs", "2", *to("diagnosis")],
    }
    failed = []
    for name, arguments in runs.items():
        print(f"== {name}", flush=True)
        command = [sys.executable, str(HERE / f"{name}.py"), *arguments]
        if subprocess.run(command).returncode:
            failed.append(name)
    if failed:
        print(f"Not as it should be: {', '.join(failed)}.")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
