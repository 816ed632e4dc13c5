"""Logs and registers a model as its owner would; run by MLflow's own Python, which has its client."""

import sys

import mlflow
import onnx

server, model, name = sys.argv[1:]
mlflow.set_tracking_uri(server)
mlflow.set_experiment("shapes")
with mlflow.start_run():
    mlflow.onnx.log_model(onnx.load(model), name="model", registered_model_name=name)
mlflow.MlflowClient().set_registered_model_alias(name, "champion", "1")
