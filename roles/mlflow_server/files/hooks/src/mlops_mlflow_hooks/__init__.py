# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an MLflow server needs beyond MLflow: a bounded number of threads, a readiness that means something, one
serialised migration, and a start that fails at once with a sentence instead of after minutes with a traceback."""

READY = "/mlops/ready"
