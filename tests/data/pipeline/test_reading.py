"""Reading raw rows in threads."""

import subprocess
import sys


def test_no_thread_is_the_first_to_import_numpy_ma() -> None:
    # pyarrow looks up `numpy.ma` for every array with a mask, and NumPy imports it then. In two threads at
    # once, the lookup may recurse endlessly, as seen once on a busy machine.
    check = "import wukongctl.data.pipeline.reading, numpy; assert 'ma' in vars(numpy)"
    subprocess.run([sys.executable, "-c", check], check=True)
