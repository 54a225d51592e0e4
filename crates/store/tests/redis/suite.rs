//! Redis passes the suite that every store passes: one server, and a cluster of three.

mod one_server {
    use crate::server::{bench, options, shared_server};

    async fn open() -> frontdesk_testkit::store_suite::Bench {
        bench(options(shared_server().url())).await
    }

    frontdesk_testkit::store_suite!(open);
    frontdesk_testkit::company_suite!(open);
    frontdesk_testkit::keeping_suite!(open);
    frontdesk_testkit::checking_suite!(open);
}

mod three_masters {
    use crate::server::{bench, options, shared_cluster};

    async fn open() -> frontdesk_testkit::store_suite::Bench {
        bench(options(shared_cluster().url())).await
    }

    frontdesk_testkit::store_suite!(open);
    frontdesk_testkit::company_suite!(open);
    frontdesk_testkit::keeping_suite!(open);
    frontdesk_testkit::checking_suite!(open);
}
