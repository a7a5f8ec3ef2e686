//! A world in one process: the operator, a simulated Kubernetes API and twins.
