//! What Culvert's processes agree on: the gRPC contracts and their conversion to domain types.
