# make demo    serve a model of handwritten digits on http://127.0.0.1:8080/web/
# make test    run the whole suite
# make lint    ruff and mypy
# make bench   how fast it is; wrk is needed (see benchmarks/run.py for ARGS)
# make wheel   build the package into dist/ and try it in an empty environment
# make clean   remove all that the others made
#
# All of them keep what they install in .venv. Another Python or port:
#     make demo PYTHON=python3.12 PORT=9000

PYTHON ?= python3
PORT ?= 8080
ARGS ?=

BIN := .venv/bin
SOURCES := setup.py pyproject.toml
URL := http://127.0.0.1:$(PORT)

.PHONY: demo test lint bench wheel clean
.DELETE_ON_ERROR:

demo: .demo/digits.stamp
	@printf '\n%s\n\n' 'Soon on $(URL)/web/ (draw a digit); or from another terminal here:'
	@printf '  %s\n' "curl $(URL)/"
	@printf '  %s\n' "curl $(URL)/names -d '{\"image\": [{\"url\": \"$(URL)/web/samples/7.png\"}]}'"
	@printf '  %s\n' "base64 < .demo/web/samples/3.jpg | tr -d '\\n' | sed 's/.*/{\"image\": [{\"b64\": \"&\"}]}/' | curl $(URL)/names -d @-"
	@printf '\n%s\n\n' 'Stop it with Ctrl-C.'
	PYTHONPATH="$(CURDIR)" exec $(BIN)/twistd --nodaemon --pidfile= tfinfer --model .demo/digits \
	    --static_path .demo/web --url_allow 127.0.0.1/32 \
	    --port tcp:$(PORT):interface=127.0.0.1 $(ARGS)

test: .venv/test.stamp
	PYTHONPATH="$(CURDIR)" $(BIN)/python -m pytest $(ARGS)

lint: .venv/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/test.stamp
	$(BIN)/python -m benchmarks.run $(ARGS)

wheel: .venv/test.stamp
	.ci/wheel $(BIN)/python

clean:
	rm -rf .venv .demo .bench build dist *.egg-info twisted/plugins/dropin.cache
	rm -rf .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

.demo/digits.stamp: examples/digits.py examples/web/index.html | .venv/demo.stamp
	@echo 'Training the demo model; this takes half a minute.'
	rm -rf .demo
	@# What TensorFlow says about the machine is shown only if something fails.
	$(BIN)/python examples/digits.py .demo/digits --web .demo/web 2> .venv/demo.log \
	    || { cat .venv/demo.log >&2; exit 1; }
	touch $@

# A plain install, since an editable one would lose the twistd plugin. It is for
# what the package depends on, and renewed only when the metadata change; with
# PYTHONPATH the commands above run the tree's own code, however new.
.venv/demo.stamp .venv/test.stamp: .venv/%.stamp: $(SOURCES) | .venv/bin/python
	rm -rf build
	$(BIN)/python -m pip install --disable-pip-version-check '.[$*]'
	rm -rf build *.egg-info
	touch $@

.venv/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 10) <= v <= (3, 13) or \
	    sys.exit("txinfer needs Python 3.10 to 3.13, and $(PYTHON) is %d.%d: " % v + \
	    "try make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
