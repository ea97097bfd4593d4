"""The documentation's pages and, in `site`, what makes a website of them."""
