mod daemons;
mod deployments;
mod pods;
mod rules;
mod world;
