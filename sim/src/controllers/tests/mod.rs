mod daemons;
mod deployments;
mod pods;
mod rules;
mod whole;
mod world;
