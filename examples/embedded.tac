"""A web application of one's own, with a model inside it.

    MODEL=.demo/digits twistd -ny examples/embedded.tac

``POST /read`` takes an image file and answers in words, through Python;
``/api/`` is the model's own HTTP interface. Both share the same batches.
"""

import os
from typing import cast

from klein import Klein
from twisted.application import service, strports
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import Resource
from twisted.web.server import Site

from txinfer import InferenceService
from txinfer.errors import InferenceError

model = InferenceService(os.environ.get("MODEL", ".demo/digits"))
shop = Klein()


@shop.route("/")
def home(request: IRequest) -> str:
    """A page that has nothing to do with the model."""
    return "Send me a digit: curl --data-binary @seven.png …/shop/read\n"


@shop.route("/read", methods=["POST"])
async def read(request: IRequest) -> str:
    """The best name for the image in the body."""
    outputs = await model.predict("names", image=[request.content.read()])
    best = cast(bytes, outputs["names"][0, 0])
    return f"That is a {best.decode()}.\n"


@shop.handle_errors(InferenceError)
def sorry(request: IRequest, failure: Failure) -> str:
    """Whatever keeps the model from answering, in plain words."""
    request.setResponseCode(failure.value.status)
    return f"Sorry: {failure.value}.\n"


root = Resource()
root.putChild(b"shop", shop.resource())
root.putChild(b"api", model.resource())

application = service.Application("shop")
model.setServiceParent(application)
port = os.environ.get("PORT", "tcp:8081:interface=127.0.0.1")
strports.service(port, Site(root)).setServiceParent(application)
